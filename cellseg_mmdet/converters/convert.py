"""From the arguments of a command line to annotation files, for every kind of raw data set."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations import (
    LAYOUTS,
    FileSet,
    file_set,
    source_info,
    stage_annotation_parts,
    suffix_of,
)
from cellseg_mmdet.converters.pipeline import Converted, report, write_folds
from cellseg_mmdet.converters.reader import READERS, Reader, add_shared_arguments, shared_options
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
    out_dir = Path(args.out).parent if reader.output == "file" else Path(args.out_dir)
    with file_set(out_dir) as files:
        lines = list(_stage(files, reader, args, out_dir))
    for line in lines:
        print(line)


def _stage(files: FileSet, reader: Reader, args: Namespace, out_dir: Path) -> Iterator[str]:
    """Write what was read into a set of files that is published when all is there; yield what is told of it."""
    found = reader.read(args)
    for part in [found] if isinstance(found, Converted) else found:
        prefix = ""
        if reader.output == "folds":
            options = {"folds": args.folds, "seed": args.seed} | _options(args)
            paths, told_of_folds = write_folds(
                files,
                out_dir,
                part,
                suffix=suffix_of(args.format),
                num_folds=args.folds,
                seed=args.seed,
                info=source_info(part.source, options),
            )
            names = ", ".join(path.name for path in paths)
            written = "\n".join(
                [*told_of_folds, f"wrote {len(paths)} files to {args.out_dir}: {names}"]
            )
        else:
            if reader.output == "splits":
                prefix = f"{part.split}_"
                out = out_dir / f"{part.split}{suffix_of(args.format)}"
            else:
                out = Path(args.out)
            stage_annotation_parts(
                files,
                {out: range(len(part.records))},
                part.records,
                categories=part.categories,
                info=source_info(part.source, _options(args)),
            )
            written = f"wrote {out}"
        rejected = out_dir / f"{prefix}rejected.csv" if args.on_error == "skip" else None
        split = f"{part.split}: " if part.split else ""
        told = report(files, part, rejected, out_dir / f"{prefix}findings.csv")
        yield f"{split}{told}"
        yield written


def _check_format(args: Namespace) -> None:
    suffix = Path(args.out).suffix.lower()
    if args.format and suffix != suffix_of(args.format):
        raise UsageError(
            f"--format {args.format} makes a {suffix_of(args.format)} file, but --out is {args.out}"
        )


def _options(args: Namespace) -> dict[str, Any]:
    return {"clean": shared_options(args)["cleaning"].active(), "on_error": args.on_error}
