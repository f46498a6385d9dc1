#!/usr/bin/env python
"""Measure every writer on one image of 4,000 x 4,000 pixels with 10,000 cells: time, memory, bytes written.

Cells are wobbly ovals, every tenth with a hole. Each writer runs in a process of its own, up to five times; memory is
the most above that of the process when it has written a small image, the masks of the cells included.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from measure import measure

from cellseg_mmdet.export import WRITERS
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction
from cellseg_mmdet.terminal import run_tool

CELL_PX, WARM_UP = 40, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100, help="in a row and in a column")
    parser.add_argument("--only", nargs="+", choices=WRITERS.names(), default=WRITERS.names())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for cells in (WARM_UP, args.cells):
            draw(Path(folder), cells)
        rows = [row(Path(folder), name, {}, args.cells) for name in args.only]
        rows += [
            row(Path(folder), name, {"simplify_px": 1}, args.cells)
            for name in ("geojson", "imagej")
            if name in args.only
        ]
    side = args.cells * CELL_PX
    print(f"\n{side:,} x {side:,} pixels, {args.cells**2:,} cells\n")
    print("| writer | s on a core | MB of memory | MB written |\n|---|---|---|---|")
    print("\n".join(rows))


def row(folder: Path, name: str, options: dict[str, Any], cells: int) -> str:
    out = folder / "out"
    done = measure(
        write,
        str(folder),
        str(out),
        name,
        options,
        cells,
        warm_up=(str(folder), str(out), name, options, WARM_UP),
    )
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    title = " ".join([f"`{name}`", *(f"{key}={value}" for key, value in options.items())])
    print(f"{title}: {done.cpu_seconds:.2f} s on a core, {done.peak_mb:.0f} MB", flush=True)
    return f"| {title} | {done.cpu_seconds:.2f} | {done.peak_mb:.0f} | {written / 1e6:.1f} |"


def write(
    folder: str, out: str, name: str, options: dict[str, Any], cells: int
) -> Callable[[], None]:
    with np.load(Path(folder) / f"{cells}.npz") as content:
        masks = Runs(**content, height=cells * CELL_PX, width=cells * CELL_PX)
    count = len(masks)
    scores = np.random.default_rng(0).uniform(0.3, 1, count)
    boxes = masks.boxes.astype(np.float64)
    found = ImagePrediction(
        "image", None, masks.height, masks.width, boxes, scores, np.zeros(count, int), masks
    )
    path = Path(folder) / f"{cells}.tif"

    def work() -> None:
        shutil.rmtree(out, ignore_errors=True)
        writer = WRITERS.get(name)(**options)
        writer.open(out, ("cell",))
        writer.add(found, Picture(ImageKey(str(path), name="image")))
        writer.close()

    return work


def draw(folder: Path, cells: int) -> None:
    """Write an image and so many rows and columns of cells, as runs."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:CELL_PX, :CELL_PX] - CELL_PX / 2 + 0.5
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    labels = np.zeros((cells * CELL_PX,) * 2, np.int32)
    for number in range(cells**2):
        size, wobble, turn = random.uniform(12, 18), random.uniform(0, 2), random.uniform(0, 7)
        cell = radius < size + wobble * np.sin(3 * angle + turn)
        if number % 10 == 0:
            cell &= radius > 3
        top, left = (CELL_PX * place for place in divmod(number, cells))
        labels[top : top + CELL_PX, left : left + CELL_PX][cell] = number + 1
    masks = Runs.from_label_map(labels)
    arrays = {name: getattr(masks, name) for name in ("starts", "lengths", "offsets")}
    np.savez(folder / f"{cells}.npz", **arrays)
    pixels = random.integers(0, 99, labels.shape, np.uint8)
    about = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / f"{cells}.tif", pixels, ome=True, tile=(256, 256), metadata=about)


if __name__ == "__main__":
    run_tool(main)
