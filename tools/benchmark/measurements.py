#!/usr/bin/env python
"""Measure 10,000 cells of one image, on one core: our table and scikit-image's regionprops_table, side by side.

Each side works in a process of its own, after it has done the same on few cells, so that kernels are compiled and
libraries loaded. The columns of regionprops_table are those of ours that it has; neighbours and background it has not.
Prints the table of docs/benchmarks.md, and the largest difference of each column that both have.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Measured, measure

from cellseg_mmdet.images import Image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import Measurements, TableFile, measure_image
from cellseg_mmdet.structures import ImageKey, ImagePrediction
from cellseg_mmdet.terminal import run_tool

# Ours -> scikit-image's, in the order of our columns.
BOTH = {
    "area_px": "area",
    "perimeter_px": "perimeter",
    "perimeter_crofton_px": "perimeter_crofton",
    "equivalent_diameter_px": "equivalent_diameter_area",
    "major_axis_px": "axis_major_length",
    "minor_axis_px": "axis_minor_length",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "extent": "extent",
    "centroid_y_px": "centroid-0",
    "centroid_x_px": "centroid-1",
    "mean_gray": "intensity_mean",
    "median_gray": "intensity_median",
    "min_gray": "intensity_min",
    "max_gray": "intensity_max",
    "std_gray": "intensity_std",
}
# Measured by both, but not alike.
ALSO = ("orientation", "feret_diameter_max", "bbox", "euler_number")
PITCH_PX = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # what is measured starts behind this
    few = 50
    print(f"{args.cells:,} cells of one image of 16 bits, one core\n")
    print("| what | seconds | of the core | most memory added |\n|---|---|---|---|")
    cases: dict[str, Callable[..., Callable[[], Any]]] = {
        "`measure_image`, all columns": ours,
        "`measure_image`, shapes and neighbours alone": without_image,
        "the table to csv": partial(to_file, suffix=".csv"),
        "the table to Parquet": partial(to_file, suffix=".parquet"),
        "scikit-image's `regionprops_table`": theirs,
    }
    for name, case in cases.items():
        try:
            row(name, measure(case, args.cells, warm_up=(few,)))
        except Exception as error:
            print(f"| {name} | not measured: {error} | | |")
    print("\nLargest relative difference of 500 cells:")
    for name, difference in differences(500).items():
        print(f"  {name}: {difference:.1e}")


def row(name: str, measured: Measured) -> None:
    seconds = f"{measured.seconds:.2f} | {measured.cpu_seconds:.2f}"
    print(f"| {name} | {seconds} | {measured.peak_mb:.0f} MB |", flush=True)


def scene(count: int) -> tuple[np.ndarray, Image]:
    """Return a label map of ellipses of 80 to 380 pixels, turned at random, and its picture."""
    rng = np.random.default_rng(0)
    across = int(np.ceil(np.sqrt(count)))
    side = across * PITCH_PX
    labels = np.zeros((side, side), np.int32)
    grid = np.mgrid[:PITCH_PX, :PITCH_PX] - (PITCH_PX - 1) / 2
    for index in range(count):
        angle, (long, short) = rng.uniform(0, np.pi), rng.uniform(5, 11, 2)
        along = np.cos(angle) * grid[1] + np.sin(angle) * grid[0]
        beside = np.cos(angle) * grid[0] - np.sin(angle) * grid[1]
        y, x = (place * PITCH_PX for place in divmod(index, across))
        inside = (along / long) ** 2 + (beside / short) ** 2 <= 1
        labels[y : y + PITCH_PX, x : x + PITCH_PX][inside] = index + 1
    pixels = rng.integers(0, 65536, (side, side, 1), dtype=np.uint16)
    return labels, Image(pixels, ImageKey("scene", name="scene"), ("gray",), (0.5, 0.5))


def prediction(labels: np.ndarray) -> ImagePrediction:
    masks = Runs.from_label_map(labels)
    count = len(masks)
    return ImagePrediction(
        "scene",
        None,
        *labels.shape,
        boxes=masks.boxes.astype(np.float64),
        scores=np.ones(count),
        labels=np.zeros(count, np.int64),
        masks=masks,
    )


def ours(count: int) -> Callable[[], Measurements]:
    labels, picture = scene(count)
    found = prediction(labels)
    return lambda: measure_image(found, ("cell",), picture)


def without_image(count: int) -> Callable[[], Measurements]:
    found = prediction(scene(count)[0])
    return lambda: measure_image(found, ("cell",))


def to_file(count: int, suffix: str) -> Callable[[], None]:
    table = ours(count)()

    def write() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            TableFile(Path(folder) / f"c{suffix}") as file,
        ):
            file.add(table)

    return write


def theirs(count: int) -> Callable[[], Mapping[str, np.ndarray]]:
    from skimage.measure import regionprops_table

    labels, picture = scene(count)
    names = tuple(dict.fromkeys(name.partition("-")[0] for name in BOTH.values())) + ALSO
    pixels = picture.pixels[..., 0].astype(np.float64)
    return lambda: regionprops_table(labels, pixels, properties=names)


def differences(count: int) -> dict[str, float]:
    """Return the largest relative difference of each column that both have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine, other = ours(count)(), theirs(count)()
    return {
        name: float(
            np.max(np.abs(mine[name] - other[their]) / np.maximum(np.abs(other[their]), 1e-9))
        )
        for name, their in BOTH.items()
    }


if __name__ == "__main__":
    run_tool(main)
