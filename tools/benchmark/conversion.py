#!/usr/bin/env python
"""Measure the conversion of a whole competition: 606 images, 73,000 cells; and of one dense label map.

The csv is made by repeating the rows and images of a data set in the competition's layout (the real one, or what
synthetic.py draws), so only its size matters.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from cellseg_mmdet.masks import Runs

CONVERTER = Path(__file__).parents[1] / "dataset_converters" / "sartorius.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train.csv and train/")
    parser.add_argument("--num-images", type=int, default=606)
    parser.add_argument("--num-cells", type=int, default=73_000)
    args = parser.parse_args()
    measure_label_map(args.data)
    with tempfile.TemporaryDirectory() as folder:
        num_cells = repeat(args.data, Path(folder), args.num_images, args.num_cells)
        command = [sys.executable, str(CONVERTER), "--csv", f"{folder}/train.csv"]
        command += ["--images", f"{folder}/train", "--out-dir", f"{folder}/out"]
        begin = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - begin
    # The largest of the processes; on Linux in KiB.
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"train.csv to COCO, {args.num_images} images, {num_cells} cells: {seconds:.1f} s, peak {peak_mb:.0f} MB"
    )


def repeat(data: Path, out: Path, num_images: int, num_cells: int) -> int:
    """Write a csv of the wanted size and its images; return the number of rows."""
    header, rows_of = read_rows(data / "train.csv")
    (out / "train").mkdir()
    written = 0
    with (out / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        for index, (image_id, rows) in enumerate(
            itertools.islice(itertools.cycle(rows_of.items()), num_images)
        ):
            shutil.copy(data / "train" / f"{image_id}.png", out / "train" / f"copy{index}.png")
            share = round(num_cells * (index + 1) / num_images) - written
            for row in itertools.islice(itertools.cycle(rows), share):
                writer.writerow(row | {"id": f"copy{index}"})
            written += share
    return written


def read_rows(csv_path: Path) -> tuple[list[str], dict[str, list[dict[str, str]]]]:
    """Return the header, and the rows of each image."""
    rows_of: dict[str, list[dict[str, str]]] = defaultdict(list)
    with csv_path.open(newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            rows_of[row["id"]].append(row)
        return list(reader.fieldnames or ()), rows_of


def measure_label_map(data: Path, num_cells: int = 790) -> None:
    """Time label map to COCO RLE and back on the densest image, topped up to ``num_cells`` from its neighbours."""
    _, rows_of = read_rows(data / "train.csv")
    densest = max(rows_of.values(), key=len)
    height, width = int(densest[0]["height"]), int(densest[0]["width"])
    others = (row for rows in rows_of.values() for row in rows if row["id"] != densest[0]["id"])
    texts = [row["annotation"] for row in itertools.chain(densest, others)]
    label_map = Runs.from_strings(texts[:num_cells], height, width, order="row").to_label_map()
    rles = Runs.from_label_map(label_map).to_coco()
    for name, function in {
        "label map to COCO RLE": lambda: Runs.from_label_map(label_map).to_coco(),
        "COCO RLE to label map": lambda: Runs.from_coco(rles).to_label_map(),
    }.items():
        seconds = []
        for _ in range(50):
            begin = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - begin)
        median_ms = 1e3 * statistics.median(seconds)
        print(f"{name}, {len(rles)} cells on {height} x {width}: median {median_ms:.1f} ms")


if __name__ == "__main__":
    main()
