#!/usr/bin/env python
"""Convert label maps in .npz files to COCO or MMDetection annotations."""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.convert import (
    add_output_arguments,
    add_shared_arguments,
    convert_npz_masks,
)
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--masks", required=True, help="folder of <image>.npz: array arr_0, or the only one"
    )
    parser.add_argument("--images", required=True, help="folder of the images of the same names")
    add_output_arguments(parser)
    parser.add_argument(
        "--category", default="cell", help="class of all cells without --labels (default: cell)"
    )
    parser.add_argument(
        "--labels", metavar="CSV", help="csv with a column id and one of classes; train.csv is one"
    )
    parser.add_argument(
        "--label-column", default="cell_type", help="column of the classes (default: cell_type)"
    )
    add_shared_arguments(parser)
    convert_npz_masks(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
