#!/usr/bin/env python
"""Convert the Sartorius competition's train.csv to COCO or MMDetection annotations, with folds."""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.convert import (
    add_folds_arguments,
    add_shared_arguments,
    convert_sartorius,
)
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", required=True, help="train.csv of the competition")
    parser.add_argument("--images", required=True, help="folder of the training images")
    add_folds_arguments(parser)
    add_shared_arguments(parser)
    convert_sartorius(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
