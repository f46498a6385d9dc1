#!/usr/bin/env python
"""Measure what a U-Net needs beside its network: the weights between cells, and cells made of its maps.

The cells are those of the densest image of an annotation file, or synthetic ones. The maps are those of a network that
is right everywhere, blurred.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from postprocess import densest, synthetic_cells

from cellseg_mmdet.datasets.border_weights import border_weights
from cellseg_mmdet.fusion import cut_soft_masks
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.models.pixel.detector import SOFT_MASK_SHAPE
from cellseg_mmdet.pixel_codes.foreground import rims, split_cells
from cellseg_mmdet.terminal import run_tool

RIM_PX = 2
BLUR_PX = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ann", type=Path, help="annotation file, COCO or MMDetection 3.x")
    args = parser.parse_args()
    cells = densest(args.ann) if args.ann else synthetic_cells()
    print(f"{len(cells)} cells on {cells.height} x {cells.width}; medians of 20 runs")

    masks, label_map = RoIMasks.from_runs(cells), cells.to_label_map()
    measure("border_weights", lambda: border_weights(masks))
    foreground = blurred(label_map > 0)
    boundary = blurred(rims(label_map, RIM_PX))
    found = measure("split_cells", lambda: split_cells(foreground, boundary, min_px=8))
    boxes = Runs.from_label_map(found).boxes
    measure("cut_soft_masks", lambda: cut_soft_masks(foreground, found, boxes, SOFT_MASK_SHAPE))


def blurred(is_set: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(is_set.astype(np.float32), (0, 0), BLUR_PX)


def measure(name: str, work: Callable[[], Any], num_runs: int = 20) -> Any:
    """Print the median time of a piece of work, and return its result."""
    seconds = []
    for _ in range(num_runs):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    print(f"{1e3 * statistics.median(seconds):8.1f} ms  {name}")
    return result


if __name__ == "__main__":
    run_tool(main)
