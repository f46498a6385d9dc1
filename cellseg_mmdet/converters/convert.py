"""From the arguments of a command line to annotation files, for every kind of raw data set."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations import LAYOUTS, source_info, suffix_of, write_annotations
from cellseg_mmdet.converters.pipeline import Converted, report, write_folds
from cellseg_mmdet.converters.reader import READERS, add_shared_arguments, shared_options
from cellseg_mmdet.errors import UsageError


def describe(name: str) -> str:
    """Return the help of a reader; its first line is a sentence of its own."""
    return inspect.getdoc(READERS.get(name)) or ""


def add_arguments(parser: ArgumentParser, name: str) -> None:
    """Add all arguments of a reader's command.

    Raises:
        ConfigError: there is no such reader.
    """
    reader = READERS.get(name)()
    reader.add_arguments(parser)
    if reader.output == "own":
        return
    if reader.output == "file":
        parser.add_argument(
            "--out", required=True, help="annotation file: .json for COCO, .pkl for MMDetection"
        )
        parser.add_argument(
            "--format", choices=LAYOUTS.names(), help="default: told from the name of --out"
        )
    else:
        files = "all, train_fold{k} and val_fold{k}" if reader.output == "folds" else "its splits"
        parser.add_argument("--out-dir", required=True, help=f"folder for {files}")
        parser.add_argument(
            "--format", choices=LAYOUTS.names(), default="coco", help="default: %(default)s"
        )
    if reader.output == "folds":
        parser.add_argument(
            "--folds", type=int, default=5, help="0 writes all only (default: %(default)s)"
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="of the folds (default: %(default)s)"
        )
    add_shared_arguments(parser)


def convert(name: str, args: Namespace) -> None:
    """Read a data set and write its annotations, as `add_arguments` lets ask for; print what was found and written.

    Raises:
        CellsegError, OSError: it cannot be read or written.
    """
    reader = READERS.get(name)()
    if reader.output == "file":
        _check_format(args)
    found = reader.read(args)
    for part in [found] if isinstance(found, Converted) else found:
        if reader.output == "folds":
            _write_folds(args, part)
        elif reader.output == "splits":
            out = Path(args.out_dir) / f"{part.split}{suffix_of(args.format)}"
            _write_file(args, part, out, prefix=f"{part.split}_")
        else:
            _write_file(args, part, Path(args.out))


def main(name: str, argv: Sequence[str] | None = None) -> None:
    """Convert a data set by a command line of its own; ``name`` is that of its reader."""
    parser = ArgumentParser(description=describe(name), formatter_class=RawDescriptionHelpFormatter)
    add_arguments(parser, name)
    convert(name, parser.parse_args(argv))


def _write_folds(args: Namespace, converted: Converted) -> None:
    options = {"folds": args.folds, "seed": args.seed} | _options(args)
    paths = write_folds(
        args.out_dir,
        converted,
        suffix=suffix_of(args.format),
        num_folds=args.folds,
        seed=args.seed,
        info=source_info(converted.source, options),
    )
    _report(args, converted, Path(args.out_dir))
    print(f"wrote {len(paths)} files to {args.out_dir}: {', '.join(path.name for path in paths)}")


def _write_file(args: Namespace, converted: Converted, out: Path, prefix: str = "") -> None:
    info = source_info(converted.source, _options(args))
    write_annotations(out, converted.records, info=info, categories=converted.categories)
    _report(args, converted, out.parent, prefix)
    print(f"wrote {out}")


def _check_format(args: Namespace) -> None:
    suffix = Path(args.out).suffix.lower()
    if args.format and suffix != suffix_of(args.format):
        raise UsageError(
            f"--format {args.format} makes a {suffix_of(args.format)} file, but --out is {args.out}"
        )


def _options(args: Namespace) -> dict[str, Any]:
    return {"clean": shared_options(args)["cleaning"].active(), "on_error": args.on_error}


def _report(args: Namespace, converted: Converted, out_dir: Path, prefix: str = "") -> None:
    rejected_path = out_dir / f"{prefix}rejected.csv" if args.on_error == "skip" else None
    split = f"{converted.split}: " if converted.split else ""
    print(f"{split}{report(converted, rejected_path, out_dir / f'{prefix}findings.csv')}")
