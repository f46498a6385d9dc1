"""List every fault of a submission file.

The exit status is 0 for a valid file, 1 if there is any fault, 2 if the file could not be checked.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.export import FORMATS

EXAMPLES = """\
  cellseg check submission.csv --images data/sartorius/test
"""
NOT_CHECKED = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.set_defaults(error_status=NOT_CHECKED)
    parser.add_argument("file", metavar="FILE", help="submission file (.csv)")
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="images that it must be about"
    )
    parser.add_argument(
        "--format", choices=FORMATS.names(), default="sartorius", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Print the faults."""
    from cellseg_mmdet.export import check_submission

    faults = check_submission(args.file, args.images, args.format)
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
