#!/usr/bin/env python
"""Convert the 2018 Data Science Bowl (nuclei) to COCO or MMDetection annotations, with folds."""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.convert import (
    add_folds_arguments,
    add_shared_arguments,
    convert_dsb2018,
)
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root",
        required=True,
        help="folder, or zip archive, of <id>/images/<id>.png and <id>/masks/*.png",
    )
    parser.add_argument(
        "--solution",
        metavar="CSV",
        help="ImageId,EncodedPixels and more, such as stage1_solution.csv: read instead of the masks (.csv, .zip)",
    )
    parser.add_argument(
        "--images-dir",
        metavar="DIR",
        help="where to unpack the images of an archive, which training reads from files "
        "(default: beside it, under its name without .zip)",
    )
    add_folds_arguments(parser)
    add_shared_arguments(parser)
    convert_dsb2018(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
