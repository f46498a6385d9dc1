#!/usr/bin/env python
"""Measure `cellseg check` on a submission of many cells in one image: its time, and the most memory that it holds.

Cells are disks of some hundred pixels on an image of 2048 x 2048: none meets another, each meets a few, or all lie
in one place.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
SIDE = 2048
RADIUS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000, help="default: 10000")
    args = parser.parse_args()
    for name, place in PLACES.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: {measure(Path(folder), place(args.cells))}")


def measure(folder: Path, centres_yx: np.ndarray) -> str:
    """Write a submission of disks, check it and return what it took."""
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images/a.png"), np.zeros((SIDE, SIDE), np.uint8))
    rows = (disk(y, x) for y, x in centres_yx.tolist())
    text = "".join(f"a,{row}\n" for row in rows)
    (folder / "s.csv").write_text(f"id,predicted\n{text}")
    command = [sys.executable, "-m", "cellseg_mmdet", "check", str(folder / "s.csv")]
    begin = time.perf_counter()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [*command, "--images", str(folder / "images")], cwd=ROOT, stdout=said
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"the check ended with {os.waitstatus_to_exitcode(status)}")
    faults = len((folder / "said").read_text().splitlines()) - 1
    return f"{len(centres_yx)} cells, {faults} faults, {seconds:.1f} s, peak {usage.ru_maxrss / 1024:.0f} MB"


def disk(y: int, x: int) -> str:
    """Return the runs of a disk, row by row, as a submission has them."""
    runs = []
    for offset in range(-RADIUS, RADIUS + 1):
        half = int((RADIUS**2 - offset**2) ** 0.5)
        runs.append(f"{(y + offset) * SIDE + x - half + 1} {2 * half + 1}")
    return " ".join(runs)


def apart(cells: int) -> np.ndarray:
    """Return centres on a grid."""
    columns = int(np.ceil(cells**0.5))
    step = (SIDE - 2 * RADIUS) / columns
    if step <= 2 * RADIUS + 1:
        raise SystemExit(f"{cells} cells do not fit side by side")
    y, x = np.divmod(np.arange(cells), columns)
    return (RADIUS + 1 + np.stack([y, x], axis=1) * step).astype(int)


def crowded(cells: int) -> np.ndarray:
    """Return centres anywhere."""
    return np.random.default_rng(0).integers(RADIUS, SIDE - RADIUS, (cells, 2))


def in_one_place(cells: int) -> np.ndarray:
    """Return the same centre for all."""
    return np.full((cells, 2), SIDE // 2)


PLACES = {"apart": apart, "crowded": crowded, "in one place": in_one_place}

if __name__ == "__main__":
    main()
