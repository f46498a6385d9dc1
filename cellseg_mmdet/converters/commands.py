"""What the tools in ``tools/dataset_converters`` do with their arguments."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from cellseg_mmdet.converters.annotations import (
    SUFFIXES,
    read_annotations,
    source_info,
    write_annotations,
)
from cellseg_mmdet.converters.cleaning import CLEANING_SWITCHES, Cleaning
from cellseg_mmdet.converters.mmdet_v2 import read_mmdet_v2
from cellseg_mmdet.converters.npz_masks import read_labels, read_npz_masks
from cellseg_mmdet.converters.pipeline import Converted, report, write_folds
from cellseg_mmdet.converters.sartorius import read_sartorius


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
    options = {"folds": args.folds, "seed": args.seed} | _options(args, cleaning)
    paths = write_folds(
        args.out_dir,
        converted,
        suffix=SUFFIXES[args.format],
        num_folds=args.folds,
        seed=args.seed,
        info=source_info(args.csv, options),
    )
    _report(args, converted, Path(args.out_dir))
    print(f"wrote {len(paths)} files to {args.out_dir}: {', '.join(path.name for path in paths)}")


def add_output_arguments(parser: ArgumentParser) -> None:
    """Add ``--out`` and ``--format``."""
    parser.add_argument(
        "--out", required=True, help="annotation file: .json for COCO, .pkl for MMDetection"
    )
    parser.add_argument(
        "--format", choices=tuple(SUFFIXES), help="default: told from the name of --out"
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
        raise ValueError(
            "--clean needs --from-v2: the other layouts are cleaned when they are made from raw data"
        )
    else:
        converted = Converted(records=read_annotations(args.annotations))
        categories = None
    _write(args, converted, source_info(args.annotations, _options(args, cleaning)), categories)


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
    if args.format and suffix != SUFFIXES[args.format]:
        raise ValueError(
            f"--format {args.format} makes a {SUFFIXES[args.format]} file, but --out is {args.out}"
        )


def _options(args: Namespace, cleaning: Cleaning) -> dict[str, Any]:
    return {"clean": cleaning.active(), "on_error": args.on_error}


def _report(args: Namespace, converted: Converted, out_dir: Path) -> None:
    rejected_path = out_dir / "rejected.csv" if args.on_error == "skip" else None
    print(report(converted, rejected_path))
