"""List every fault of a submission, or of an annotation file.

FILE is a submission (.csv); or annotations (COCO .json, MMDetection .pkl), each entry of which is checked, and the size
of each image against its file. The exit status is 0 for a valid file, 1 if there is any fault, 2 if the file could
not be checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cellseg_mmdet.export import FORMATS

EXAMPLES = """\
  cellseg check submission.csv --images data/sartorius/test
  cellseg check my_annotations.json --images my_images
"""
NOT_CHECKED = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.set_defaults(error_status=NOT_CHECKED)
    parser.add_argument(
        "file", metavar="FILE", help="submission (.csv) or annotations (.json, .pkl)"
    )
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="images that it must be about"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS.names(),
        default="sartorius",
        help="of a submission (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the faults."""
    from cellseg_mmdet.annotations.cell_csv import is_csv
    from cellseg_mmdet.annotations.image_files import check_annotations
    from cellseg_mmdet.export import check_submission

    if is_csv(args.file):
        submission_faults = check_submission(args.file, args.images, args.format)
        return _told(args.file, f"{args.format} submission", submission_faults)
    faults, said = check_annotations(args.file, args.images)
    for sentence in said:
        print(sentence)
    return _told(args.file, "annotation file", faults)


def _told(file: str, what: str, faults: Sequence[object]) -> int:
    for fault in faults:
        print(fault)
    if faults:
        print(f"{file}: not a valid {what}, {len(faults)} fault{'s' * (len(faults) > 1)}")
        return 1
    print(f"{file}: valid {what}")
    return 0
