#!/usr/bin/env python
"""Time, memory and score of ours, Cellpose and StarDist on the same images, with the same threads, in one run.

A model is the name of a config of ours, cellpose, cellpose-sizes (Cellpose with its size model) or stardist, and may be
followed by = and a checkpoint (of Cellpose a file, of StarDist a model's folder). Without one the weights are
random, and the maps of the true cells are decoded in place of the network's, which runs all the same: decoding then has
as many cells to find as there are, and no score is given. Each model runs in a process of its own. One that is not
installed is said to be skipped; --peers-python names the interpreter of an environment that has the peers.

Times are CPU seconds, in which other work on the machine counts little, and those on the wall beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from inference_worker import NOT_INSTALLED

from cellseg_mmdet.annotations import read_annotations
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.images import read_image
from cellseg_mmdet.images.intensity import gray_of
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.terminal import run_tool

WORKER = Path(__file__).with_name("inference_worker.py")
ROOT = Path(__file__).parents[2]
PEERS = ("cellpose", "cellpose-sizes", "stardist")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
HEADER = (
    "| model | weights | score | cells an image | process of one image, CPU s | further image, CPU s (wall) | network "
    "| peak MiB |\n|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL[=CHECKPOINT]")
    parser.add_argument("--ann", required=True, help="annotations of the images")
    parser.add_argument("--images", required=True, type=Path, help="their folder")
    parser.add_argument("--count", type=int, default=12, help="images, at equal distances in --ann")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--out", type=Path, help="write all numbers, as JSON")
    args = parser.parse_args()
    records = chosen(read_annotations(args.ann), args.count)
    print(
        f"{len(records)} images of {args.ann}, {args.threads} threads on {len(os.sched_getaffinity(0))} cores; "
        f"load of the machine {os.getloadavg()[0]:.1f}\n\n{HEADER}",
        flush=True,
    )
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = write_pictures(records, args.images, folder)
        for model in args.models:
            found = measured(model, pictures, records, folder, args.threads, args.peers_python)
            results[model] = found
            print(row(model, found), flush=True)
    print(f"\nload of the machine at the end {os.getloadavg()[0]:.1f}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1))


def chosen(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """Return ``count`` records at equal distances."""
    if not 2 <= count <= len(records):
        raise UsageError(f"--count {count}: 2 to {len(records)}, as many images as there are")
    return [records[place * len(records) // count] for place in range(count)]


def write_pictures(records: Sequence[ImageRecord], images: Path, folder: Path) -> list[str]:
    """Write gray pictures of 8 bits, and their true cells, for the workers; return the paths."""
    paths = []
    for number, record in enumerate(records):
        pixels = gray_of(read_image(images / record.file_name).pixels)[..., 0]
        path = folder / f"{number}.npz"
        np.savez(path, picture=pixels, truth=record.masks.to_label_map().astype(np.int32))
        paths.append(str(path))
    return paths


def measured(
    model: str,
    pictures: Sequence[str],
    records: Sequence[ImageRecord],
    folder: Path,
    threads: int,
    peers_python: str,
) -> dict[str, Any] | str:
    """Return what a worker measured, or why there is nothing."""
    name, _, checkpoint = model.partition("=")
    is_peer = name in PEERS
    python = peers_python if is_peer else sys.executable
    out = folder / Path(name).name
    out.mkdir(exist_ok=True)
    job = {
        "kind": name if is_peer else "ours",
        "config": name,
        "checkpoint": checkpoint or None,
        "is_stand_in": not checkpoint,
        "most": round(statistics.median(len(record.masks) for record in records)),
        "threads": threads,
        "pictures": list(pictures),
        "out": str(out),
    }
    if not is_peer and not checkpoint:
        job["checkpoint"] = str(out / "random.pth")
        if fault := run(python, job | {"kind": "random"}, out, threads)[0]:
            return fault
    fault, process = run(python, job, out, threads)
    if fault:
        return fault
    result = dict(process)
    result["cells"] = [int(np.load(out / f"{n}.npy").max(initial=0)) for n in range(len(pictures))]
    if checkpoint:
        result["score"] = score(out, records)
    return result


def run(
    python: str, job: Mapping[str, Any], out: Path, threads: int, worker: Path = WORKER
) -> tuple[str, dict[str, Any]]:
    """Run a worker; return its fault, '' for none, and what it measured with the CPU seconds of the whole process."""
    path = out / "job.json"
    path.write_text(json.dumps(job))
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    search = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(filter(None, search))}
    log = out / "log.txt"
    begin = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [python, str(worker), str(path)], stdout=stream, stderr=stream, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code  # waited for already
    last = (log.read_text().strip().splitlines() or [""])[-1]
    if code == NOT_INSTALLED:
        return f"skipped: not installed in {python} ({last})", {}
    if code:
        return f"failed with status {code}: {last}", {}
    if job["kind"] == "random":
        return "", {}
    result = json.loads((out / "result.json").read_text())
    left_out = {
        clock: sum(image["left_out"][clock] for image in result["images"])
        for clock in ("wall", "cpu")
    }
    result["whole_cpu_s"] = usage.ru_utime + usage.ru_stime - left_out["cpu"]
    result["whole_wall_s"] = wall - left_out["wall"]
    return "", result


def score(out: Path, records: Sequence[ImageRecord]) -> float:
    """Return the competition's mAP of the label maps of a worker."""
    values = []
    for number, record in enumerate(records):
        found = Runs.from_label_map(np.load(out / f"{number}.npy"))
        values.append(image_score(Overlaps(found, record.masks)))
    return float(np.mean(values))


def row(model: str, found: dict[str, Any] | str) -> str:
    """Return the line of the table."""
    name, _, checkpoint = model.partition("=")
    name = Path(name).stem
    if isinstance(found, str):
        return f"| {name} | {found} | | | | | | |"
    further = found["images"][1:]
    cpu, wall = (
        statistics.mean(image["total"][clock] for image in further) for clock in ("cpu", "wall")
    )
    first_cpu = found["whole_cpu_s"] - sum(image["total"]["cpu"] for image in further)
    network = statistics.mean(image["network"]["cpu"] for image in further)
    # Of a detector what comes after the backbone is network and decoding in turns.
    share = "-" if "rcnn" in name else f"{100 * network / cpu:.0f} %"
    value = f"{found['score']:.3f}" if "score" in found else "-"
    return (
        f"| {name} | {Path(checkpoint).name if checkpoint else 'random'} | {value} | "
        f"{statistics.mean(found['cells']):.0f} | {first_cpu:.1f} | {cpu:.2f} ({wall:.2f}) | "
        f"{share} | {found['peak_mib']:.0f} |"
    )


if __name__ == "__main__":
    run_tool(main)
