#!/usr/bin/env python
"""Write synthetic phase-contrast images with masks in the Sartorius competition's layout."""

from __future__ import annotations

import argparse

from cellseg_mmdet.synthetic import CELL_TYPES, write_dataset
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out-dir", required=True, help="folder for train.csv, train/, test/ ...")
    parser.add_argument("--num-train", type=int, default=24, help="training images (default: 24)")
    parser.add_argument("--num-test", type=int, default=6, help="test images (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same data (default: 0)")
    parser.add_argument("--height", type=int, default=520, help="in pixels (default: 520)")
    parser.add_argument("--width", type=int, default=704, help="in pixels (default: 704)")
    parser.add_argument(
        "--density", type=float, default=1.0, help="cells relative to the real images (default: 1)"
    )
    parser.add_argument(
        "--cell-types", nargs="+", choices=CELL_TYPES, default=CELL_TYPES, help="default: all"
    )
    parser.add_argument(
        "--blank-metadata", action="store_true", help="leave sample and time columns empty"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the data set of an earlier run"
    )
    parser.add_argument("--workers", type=int, help="processes (default: the available cores)")
    print(write_dataset(**vars(parser.parse_args())))


if __name__ == "__main__":
    run_tool(main)
