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
from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.models.pixel.detector import SOFT_MASK_SHAPE
from cellseg_mmdet.pixel_codes.rim import RimCode
from cellseg_mmdet.terminal import run_tool

RIM_PX = 2
BLUR_PX = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ann", type=Path, help="annotation file, COCO or MMDetection 3.x")
    args = parser.parse_args()
    cells = densest(args.ann) if args.ann else synthetic_cells()
    print(f"{len(cells)} cells on {cells.height} x {cells.width}; medians of 20 runs")

    masks = RoIMasks.from_runs(cells)
    measure("border_weights", lambda: border_weights(masks))
    code = RimCode(rim_px=RIM_PX, min_px=8)
    maps = measure("RimCode, encode", lambda: code.encode(masks)).maps
    maps = np.stack([cv2.GaussianBlur(values, (0, 0), BLUR_PX) for values in maps])
    found = measure("RimCode, decode", lambda: code.decode(maps))
    boxes = found.masks.boxes
    measure(
        "cut_soft_masks",
        lambda: cut_soft_masks(maps[0], found.label_map, boxes, SOFT_MASK_SHAPE),
    )


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
