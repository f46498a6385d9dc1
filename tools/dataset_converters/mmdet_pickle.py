#!/usr/bin/env python
"""Convert between annotation layouts: mmdet 2.x lists (--from-v2), MMDetection 3.x pickles and COCO json."""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.convert import (
    add_output_arguments,
    add_shared_arguments,
    convert_mmdet_pickle,
)
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", help="annotation file to read")
    add_output_arguments(parser)
    parser.add_argument(
        "--from-v2", action="store_true", help="the file is a list as mmdet 2.x reads it"
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        default=["cell"],
        help="with --from-v2: class names in the order of the labels",
    )
    add_shared_arguments(parser)
    convert_mmdet_pickle(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
