#!/usr/bin/env python
"""Measure the conversion of a csv of a million rows: its time, and the most memory that all processes hold together.

Images and rows are drawn: black images of one size, and on each the same number of ellipses of some 200 pixels. Only
their number matters.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.masks import Runs

ROOT = Path(__file__).parents[2]
# Height, width and order of the pixels of each kind.
SIZES = {"sartorius": (520, 704, "row"), "dsb2018": (360, 360, "column")}
NUM_LAYOUTS = 40
SAMPLE_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(SIZES), help="default: all")
    parser.add_argument("--num-images", type=int, default=12_048)
    parser.add_argument("--cells", type=int, default=83, help="of each image (default: 83)")
    parser.add_argument("--folder", help="where to write (default: a temporary folder)")
    args = parser.parse_args()
    for kind in args.kinds:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            print(measure(kind, Path(folder), args.num_images, args.cells))


def measure(kind: str, folder: Path, num_images: int, cells: int) -> str:
    """Write a data set, convert it and return what it took."""
    arguments = WRITERS[kind](folder, num_images, cells)
    command = [sys.executable, "-m", "cellseg_mmdet", "convert", kind, *arguments]
    begin, cpu_before = time.perf_counter(), _cpu_seconds()
    process = subprocess.Popen([*command, "--out-dir", str(folder / "out")], cwd=ROOT)
    peak = PeakMemory(process.pid)
    status = process.wait()
    seconds = time.perf_counter() - begin
    peak_mb = peak.stop()
    if status:
        sys.exit(f"{kind}: the conversion ended with {status}")
    return (
        f"{kind}, {num_images} images, {num_images * cells} rows: {seconds:.1f} s "
        f"({_cpu_seconds() - cpu_before:.0f} s of all cores together), "
        f"peak {peak_mb:.0f} MB of all processes together"
    )


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class PeakMemory:
    """The most memory that a process and its children hold together; what they share counts once.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._peak_kb, self._stopped = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Return it, in MB."""
        self._stopped.set()
        self._thread.join()
        return self._peak_kb / 1024

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self._peak_kb = max(self._peak_kb, sum(map(_pss_kb, _family(self._pid))))


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def layouts(height: int, width: int, order: str, cells: int) -> list[list[str]]:
    """Return the strings of some images: ellipses side by side, jittered, that touch no other."""
    generator = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(cells * width / height)))
    rows = -(-cells // columns)
    step_y, step_x = height / rows, width / columns
    found = []
    for _ in range(NUM_LAYOUTS):
        label_map = np.zeros((height, width), np.int32)
        for cell in range(cells):
            y, x = (cell // columns + 0.5) * step_y, (cell % columns + 0.5) * step_x
            axes = generator.integers(6, 12, 2).tolist()
            angle = float(generator.uniform(0, 180))
            jitter = generator.integers(-2, 3, 2)
            center = int(x + jitter[0]), int(y + jitter[1])
            cv2.ellipse(label_map, center, axes, angle, 0, 360, cell + 1, -1)
        found.append(Runs.from_label_map(label_map).to_strings(order=order))
    return found


def write_sartorius(folder: Path, num_images: int, cells: int) -> list[str]:
    """Write train.csv and images; return the arguments of the conversion."""
    height, width, order = SIZES["sartorius"]
    (folder / "train").mkdir()
    picture = cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()
    texts = layouts(height, width, order, cells)
    types = ("shsy5y", "astro", "cort")
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = "id,annotation,width,height,cell_type,plate_time,sample_date,sample_id"
        writer.writerow([*header.split(","), "elapsed_timedelta"])
        for index in range(num_images):
            name = f"{index:012x}"
            (folder / "train" / f"{name}.png").write_bytes(picture)
            described = (width, height, types[index % 3], "11h30m00s", "2019-06-16")
            sample = f"{types[index % 3]}[diff]_{index}", "0 days 11:30:00"
            for text in texts[index % len(texts)]:
                writer.writerow((name, text, *described, *sample))
    return ["--csv", str(folder / "train.csv"), "--images", str(folder / "train")]


def write_dsb2018(folder: Path, num_images: int, cells: int) -> list[str]:
    """Write the folders of images and a solution; return the arguments of the conversion."""
    height, width, order = SIZES["dsb2018"]
    picture = cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()
    texts = layouts(height, width, order, cells)
    with (folder / "solution.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("ImageId", "EncodedPixels", "Height", "Width", "Usage"))
        for index in range(num_images):
            name = f"{index:064x}"
            images = folder / "root" / name / "images"
            images.mkdir(parents=True)
            (images / f"{name}.png").write_bytes(picture)
            for text in texts[index % len(texts)]:
                writer.writerow((name, text, height, width, "Public"))
    return ["--root", str(folder / "root"), "--solution", str(folder / "solution.csv")]


WRITERS = {"sartorius": write_sartorius, "dsb2018": write_dsb2018}

if __name__ == "__main__":
    main()
