#!/usr/bin/env python
"""Convert the Sartorius competition's train.csv to COCO or MMDetection annotations, with folds."""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.commands import add_shared_arguments, convert_sartorius
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", required=True, help="train.csv of the competition")
    parser.add_argument("--images", required=True, help="folder of the training images")
    parser.add_argument(
        "--out-dir", required=True, help="folder for all, train_fold{k} and val_fold{k}"
    )
    parser.add_argument("--format", choices=("coco", "mmdet"), default="coco", help="default: coco")
    parser.add_argument("--folds", type=int, default=5, help="0 writes all only (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    add_shared_arguments(parser)
    convert_sartorius(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
