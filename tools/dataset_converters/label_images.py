#!/usr/bin/env python
"""Convert label images (TIFF, PNG; 0 is background, every cell has a number) to COCO or MMDetection annotations.

StarDist's layout is two folders with the same names; Cellpose's is one folder and --label-suffix _masks (its own data
sets also need --image-suffix _img, its command line writes _cp_masks).
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.convert import (
    add_output_arguments,
    add_shared_arguments,
    convert_label_images,
)
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", required=True, help="folder of the label images")
    parser.add_argument("--images", required=True, help="folder of the images")
    parser.add_argument(
        "--label-suffix", default="", help="what names of label images end with, such as _masks"
    )
    parser.add_argument(
        "--image-suffix", default="", help="what names of images end with, such as _img"
    )
    add_output_arguments(parser)
    parser.add_argument("--category", default="cell", help="class of all cells (default: cell)")
    add_shared_arguments(parser)
    convert_label_images(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
