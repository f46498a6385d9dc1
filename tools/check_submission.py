#!/usr/bin/env python
"""List every fault of a submission file; exit status 1 if there is any, 2 if it was not checked."""

from __future__ import annotations

import argparse
import sys

from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.export import FORMATS, check_submission
from cellseg_mmdet.terminal import run_tool, told_in_a_line


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", metavar="FILE", help="submission file (.csv)")
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="images that it must be about"
    )
    parser.add_argument(
        "--format", choices=FORMATS.names(), default="sartorius", help="default: %(default)s"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        faults = check_submission(args.file, args.images, args.format)
    except (CellsegError, OSError) as error:
        message = told_in_a_line(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 2
    for fault in faults:
        print(fault)
    if faults:
        print(
            f"{args.file}: not a valid {args.format} submission, "
            f"{len(faults)} fault{'s' * (len(faults) > 1)}"
        )
        return 1
    print(f"{args.file}: valid {args.format} submission")
    return 0


if __name__ == "__main__":
    run_tool(main)
