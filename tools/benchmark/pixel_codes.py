#!/usr/bin/env python
"""Encode the cells of real images as each pixel code does and decode them again: what a code loses, and its time.

Prints the tables of docs/pixel-codes.md. What is lost here no network can win back.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cellseg_mmdet.converters.readers.dsb2018 import read_dsb2018
from cellseg_mmdet.converters.readers.label_images import read_label_images
from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.pixel_codes import PixelCode, build_pixel_code, owners
from cellseg_mmdet.pixel_codes.code import largest_pieces
from cellseg_mmdet.terminal import run_tool

CODES = {
    "RimCode": dict(type="RimCode", rim_px=1),
    "BoundaryDistanceCode": dict(type="BoundaryDistanceCode"),
    "StarCode": dict(type="StarCode"),
    "FlowCode": dict(type="FlowCode"),
}
GOOD_IOU = 0.9
REPEATS = 15
CAUSES = ("overlap", "in pieces", "thin", "hollow", "other")


@dataclass
class Lost:
    """The round trip of the cells of one image."""

    cells: int = 0
    good: int = 0
    found: int = 0
    score: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="default: CELLSEG_REAL_DATA")
    parser.add_argument("--codes", nargs="+", choices=list(CODES), default=list(CODES))
    args = parser.parse_args()
    folder = args.data or Path(os.environ.get("CELLSEG_REAL_DATA", ""))
    images = read_images(folder)
    print_losses(args.codes, images)
    print_times(args.codes, max((cells for _, cells in images["Sartorius"]), key=len))


def read_images(folder: Path) -> dict[str, list[tuple[str, Runs]]]:
    """Return for each image of each data set its cell type, '' where there is one only, and its cells.

    Raises:
        UsageError: the folder lacks a data set.
    """
    for part in ("dsb2018/stage1_train.zip", "usiigaci/labels", "sartorius/train.csv"):
        if not (folder / part).exists():
            raise UsageError(f"--data {folder}: there is no {part}")
    nuclei = read_dsb2018(folder / "dsb2018/stage1_train.zip").records
    of_usiigaci = read_label_images(folder / "usiigaci/labels", folder / "usiigaci/images").records
    records = read_sartorius(folder / "sartorius/train.csv", folder / "sartorius/train").records
    return {
        "DSB2018": [("", record.masks) for record in nuclei],
        "Usiigaci": [("", record.masks) for record in of_usiigaci],
        "Sartorius": [(record.categories[0], record.masks) for record in records],
    }


def round_trip(code: PixelCode, cells: Runs) -> Lost:
    """Encode and decode the cells of an image, and return what became of them."""
    lost = Lost()
    decoded = code.decode(code.encode(cells).maps)
    overlaps = Overlaps(decoded.masks, cells)
    best = np.zeros(len(cells))
    np.maximum.at(best, overlaps.pairs.true, overlaps.pairs.iou)
    lost.cells += len(cells)
    lost.good += int((best > GOOD_IOU).sum())
    lost.found += len(decoded)
    lost.score = image_score(overlaps)
    bad = np.flatnonzero(best <= GOOD_IOU)
    if not len(bad):
        return lost
    label_map = owners(cells)
    owned = np.bincount(label_map.ravel(), minlength=len(cells) + 1)[1:]
    whole = largest_pieces(label_map)
    largest = np.bincount(whole.ravel(), minlength=len(cells) + 1)[1:]
    for cell in bad:
        lost.causes[cause(cells, cell, owned[cell], largest[cell])] += 1
    return lost


def cause(cells: Runs, cell: int, owned: int, largest: int) -> str:
    """Return the first of `CAUSES` that is true of a cell.

    Others own a tenth of it; a tenth is not in its largest piece; its area is below a sixth of the squared length of
    its box's diagonal, where a disk has 0.39; its middle is not in it.
    """
    area = cells.areas[cell]
    if owned <= GOOD_IOU * area:
        return "overlap"
    if largest <= GOOD_IOU * area:
        return "in pieces"
    x1, y1, x2, y2 = cells.boxes[cell]
    if area < ((x2 - x1) ** 2 + (y2 - y1) ** 2) / 6:
        return "thin"
    pixels = cells[[cell]].pixels()[0]
    middle = np.median(pixels // cells.height), np.median(pixels % cells.height)
    if round(middle[0]) * cells.height + round(middle[1]) not in pixels:
        return "hollow"
    return "other"


def print_losses(names: Sequence[str], images: dict[str, list[tuple[str, Runs]]]) -> None:
    """Print a row for each code and data set, and for each cell type where there are several."""
    print(
        f"| code | images | cells | found | IoU > {GOOD_IOU} | competition mAP | of the others: {', '.join(CAUSES)} |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in names:
        code = build_pixel_code(CODES[name])
        for kind, cells_of in images.items():
            results = [(cell_type, round_trip(code, cells)) for cell_type, cells in cells_of]
            print_row(name, kind, [lost for _, lost in results])
            for one in sorted({cell_type for cell_type, _ in results} - {""}):
                print_row(
                    name, f"- {one}", [lost for cell_type, lost in results if cell_type == one]
                )


def print_row(name: str, kind: str, lost: Sequence[Lost]) -> None:
    cells = sum(image.cells for image in lost)
    causes = sum((image.causes for image in lost), Counter())
    print(
        f"| {name} | {kind}, {len(lost)} | {cells} | {sum(image.found for image in lost)} | "
        f"{sum(image.good for image in lost) / cells:.4f} | {np.mean([image.score for image in lost]):.4f} | "
        f"{', '.join(str(causes[key]) for key in CAUSES)} |",
        flush=True,
    )


def print_times(names: Sequence[str], cells: Runs) -> None:
    """Print the best of `REPEATS` runs, one thread, of an image, and of 4 and 16 of it in a square."""
    sizes = [cells, fourfold(cells), fourfold(fourfold(cells))]
    print(
        f"\n{len(cells)} cells of {cells.areas.mean():.0f} pixels on {cells.height} x {cells.width}, "
        f"and 4 and 16 times that; best of {REPEATS}, one thread, ms\n"
    )
    print("| code | encode | decode | encode x 4 | decode x 4 | encode x 16 | decode x 16 |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        code = build_pixel_code(CODES[name])
        times = []
        for masks in sizes:
            maps = code.encode(masks).maps
            times += [best_ms(lambda: code.encode(masks)), best_ms(lambda: code.decode(maps))]  # noqa: B023
        print(f"| {name} | " + " | ".join(f"{value:.0f}" for value in times) + " |")


def fourfold(cells: Runs) -> Runs:
    """Return four of an image in a square."""
    label_map = cells.to_label_map()
    row = np.hstack([label_map, np.where(label_map > 0, label_map + len(cells), 0)])
    return Runs.from_label_map(np.vstack([row, np.where(row > 0, row + 2 * len(cells), 0)]))


def best_ms(work: Callable[[], object]) -> float:
    """Return the shortest CPU time, in which others on the machine had the least part."""
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return 1000 * min(times)


if __name__ == "__main__":
    run_tool(main)
