"""What the tools in ``tools/dataset_converters`` do with their arguments."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations import LAYOUTS
from cellseg_mmdet.annotations.files import (
    read_annotations,
    source_info,
    suffix_of,
    write_annotations,
)
from cellseg_mmdet.converters.cleaning import CLEANING_SWITCHES, Cleaning
from cellseg_mmdet.converters.pipeline import Converted, report, write_folds
from cellseg_mmdet.converters.readers.dsb2018 import read_dsb2018, unpack_images
from cellseg_mmdet.converters.readers.label_images import read_label_images
from cellseg_mmdet.converters.readers.livecell import find_livecell_images, read_livecell
from cellseg_mmdet.converters.readers.mmdet_pickle import read_mmdet_v2
from cellseg_mmdet.converters.readers.npz_masks import read_labels, read_npz_masks
from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.errors import UsageError


def add_shared_arguments(parser: ArgumentParser) -> None:
    """Add ``--clean``, ``--on-error`` and ``--workers``."""
    parser.add_argument(
        "--clean",
        nargs="+",
        default=[],
        metavar="SWITCH",
        help=f"cleaning steps, all off by default: {', '.join(CLEANING_SWITCHES)}",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="skip: leave out rows that cannot be used and list them in rejected.csv (default: stop)",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")


def convert_sartorius(args: Namespace) -> None:
    """Convert ``train.csv``; ``args`` are those of ``sartorius.py``."""
    cleaning = Cleaning.from_switches(args.clean)
    converted = read_sartorius(
        args.csv, args.images, cleaning=cleaning, on_error=args.on_error, workers=args.workers
    )
    _write_folds(args, converted, args.csv, cleaning)


def convert_dsb2018(args: Namespace) -> None:
    """Convert the 2018 Data Science Bowl; ``args`` are those of ``dsb2018.py``."""
    cleaning = Cleaning.from_switches(args.clean)
    root = Path(args.root)
    converted = read_dsb2018(
        root,
        solution=args.solution,
        cleaning=cleaning,
        on_error=args.on_error,
        workers=args.workers,
    )
    if root.is_file():
        images_dir = Path(args.images_dir or root.with_suffix(""))
        unpack_images(root, converted, images_dir)
        print(f"unpacked the images, which training reads, to {images_dir}")
    _write_folds(args, converted, args.solution or args.root, cleaning)


def convert_livecell(args: Namespace) -> None:
    """Convert LIVECell, split by split; ``args`` are those of ``livecell.py``."""
    # What scores a model is kept whole: an image of two splits stays with the first of these.
    splits = {name: getattr(args, name) for name in ("test", "val", "train") if getattr(args, name)}
    if not splits:
        raise UsageError("name the annotation files of at least one of --train, --val and --test")
    cleaning = Cleaning.from_switches(args.clean)
    images = find_livecell_images(args.images)
    out_dir = Path(args.out_dir)
    taken: dict[str, str] = {}
    # One after the other: the largest of the files takes some gigabytes of memory.
    for split, paths in splits.items():
        converted = read_livecell(
            paths,
            args.images,
            images,
            taken=taken,
            cleaning=cleaning,
            on_error=args.on_error,
            workers=args.workers,
        )
        taken |= {Path(record.file_name).stem: split for record in converted.records}
        out = out_dir / f"{split}{suffix_of(args.format)}"
        info = source_info(paths[0], _options(args, cleaning))
        write_annotations(out, converted.records, info=info)
        rejected_path = out_dir / f"{split}_rejected.csv" if args.on_error == "skip" else None
        print(f"{split}: {report(converted, rejected_path, out_dir / f'{split}_findings.csv')}")
        print(f"wrote {out}")


def convert_label_images(args: Namespace) -> None:
    """Convert label images; ``args`` are those of ``label_images.py``."""
    _check_format(args)
    cleaning = Cleaning.from_switches(args.clean)
    converted = read_label_images(
        args.labels,
        args.images,
        label_suffix=args.label_suffix,
        image_suffix=args.image_suffix,
        category=args.category,
        cleaning=cleaning,
        on_error=args.on_error,
        workers=args.workers,
    )
    _write(args, converted, source_info(args.labels, _options(args, cleaning)))


def add_folds_arguments(parser: ArgumentParser) -> None:
    """Add ``--out-dir``, ``--format``, ``--folds`` and ``--seed``."""
    parser.add_argument(
        "--out-dir", required=True, help="folder for all, train_fold{k} and val_fold{k}"
    )
    parser.add_argument(
        "--format", choices=LAYOUTS.names(), default="coco", help="default: %(default)s"
    )
    parser.add_argument(
        "--folds", type=int, default=5, help="0 writes all only (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: %(default)s)")


def add_output_arguments(parser: ArgumentParser) -> None:
    """Add ``--out`` and ``--format``."""
    parser.add_argument(
        "--out", required=True, help="annotation file: .json for COCO, .pkl for MMDetection"
    )
    parser.add_argument(
        "--format", choices=LAYOUTS.names(), help="default: told from the name of --out"
    )


def convert_npz_masks(args: Namespace) -> None:
    """Convert label maps; ``args`` are those of ``npz_masks.py``."""
    _check_format(args)
    cleaning = Cleaning.from_switches(args.clean)
    converted = read_npz_masks(
        args.masks,
        args.images,
        category=args.category,
        labels=read_labels(args.labels, column=args.label_column) if args.labels else None,
        cleaning=cleaning,
        on_error=args.on_error,
        workers=args.workers,
    )
    _write(args, converted, source_info(args.masks, _options(args, cleaning)))


def convert_mmdet_pickle(args: Namespace) -> None:
    """Convert between annotation layouts; ``args`` are those of ``mmdet_pickle.py``."""
    _check_format(args)
    cleaning = Cleaning.from_switches(args.clean)
    if args.from_v2:
        converted = read_mmdet_v2(
            args.annotations,
            classes=args.classes,
            cleaning=cleaning,
            on_error=args.on_error,
            workers=args.workers,
        )
        categories = tuple(args.classes)
    elif cleaning.active():
        raise UsageError(
            "--clean needs --from-v2: the other layouts are cleaned when they are made from raw data"
        )
    else:
        converted = Converted(records=read_annotations(args.annotations))
        categories = None
    _write(args, converted, source_info(args.annotations, _options(args, cleaning)), categories)


def _write_folds(args: Namespace, converted: Converted, source: str, cleaning: Cleaning) -> None:
    options = {"folds": args.folds, "seed": args.seed} | _options(args, cleaning)
    paths = write_folds(
        args.out_dir,
        converted,
        suffix=suffix_of(args.format),
        num_folds=args.folds,
        seed=args.seed,
        info=source_info(source, options),
    )
    _report(args, converted, Path(args.out_dir))
    print(f"wrote {len(paths)} files to {args.out_dir}: {', '.join(path.name for path in paths)}")


def _write(
    args: Namespace,
    converted: Converted,
    info: dict[str, Any],
    categories: tuple[str, ...] | None = None,
) -> None:
    write_annotations(args.out, converted.records, info=info, categories=categories)
    _report(args, converted, Path(args.out).parent)
    print(f"wrote {args.out}")


def _check_format(args: Namespace) -> None:
    suffix = Path(args.out).suffix.lower()
    if args.format and suffix != suffix_of(args.format):
        raise UsageError(
            f"--format {args.format} makes a {suffix_of(args.format)} file, but --out is {args.out}"
        )


def _options(args: Namespace, cleaning: Cleaning) -> dict[str, Any]:
    return {"clean": cleaning.active(), "on_error": args.on_error}


def _report(args: Namespace, converted: Converted, out_dir: Path) -> None:
    rejected_path = out_dir / "rejected.csv" if args.on_error == "skip" else None
    print(report(converted, rejected_path, out_dir / "findings.csv"))
