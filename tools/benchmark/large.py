#!/usr/bin/env python
"""Measure ``cellseg infer`` from the file to the written results, on pictures of growing size: time, memory, cells.

Pictures are OME-TIFFs in compressed tiles, of bright nuclei: 50,176 in 10,000 x 10,000 pixels (`large_scene.py`).
The pixel model is ``nuclei``, which ships. The detector is the small R18 Mask R-CNN, trained for some minutes on such
pictures (``--train-images``, ``--epochs``) unless ``--checkpoint`` names its weights; it sees them ``--enlarged`` times
as large. Its caps are set to four times the number of nuclei.

Each command runs in a process of its own on so many threads (``--threads``). Memory is the most that it has at any time
together with its children, by ``VmRSS`` every few milliseconds, and no less than the peak that the system keeps of it;
``anonymous`` is what of it is not pages of files, which the system takes back when it needs them. Times are those of
the processor. A nucleus counts as found if a cell lies at its centre, and at no other one's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from large_scene import Scene, found_centres, write_scene, write_training_set

from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.export import WRITERS
from cellseg_mmdet.terminal import run_tool

HERE = Path(__file__).parent
KINDS = ("pixel", "detector")
DETECTOR = "mask-rcnn_r18_fpn_cpu_dsb2018"
WRITE = ("label-tiff", "geojson", "table", "submission", "overlay")
EVERY_S = 0.03


@dataclass
class Measured:
    """What a command took.

    Attributes:
        cpu_s: seconds of the processor, of all threads and children.
        wall_s: on the clock.
        peak_mib: most memory, of process and children together.
        anonymous_mib: most of it that is not pages of files.
        stages: name -> (seconds of the processor, most memory while it was worked on, in MiB).
    """

    cpu_s: float
    wall_s: float
    peak_mib: float
    anonymous_mib: float
    stages: dict[str, tuple[float, float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 10_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--memory", default="2", help="of the command, in GB (default: 2)")
    parser.add_argument("--tile", default="auto", help="of the command")
    parser.add_argument("--write", nargs="+", choices=WRITERS.names(), default=WRITE)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=1500, help="seconds for one command")
    parser.add_argument("--checkpoint", type=Path, help="of the detector")
    parser.add_argument(
        "--enlarged", default="1.0", help="how much the detector's pipeline enlarges (default: 1.0)"
    )
    parser.add_argument("--train-images", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--stages", action="store_true", help="a table of what was done, as well")
    parser.add_argument("--folder", type=Path, help="where files are made, and kept")
    args = parser.parse_args()
    if "label-tiff" not in args.write:
        args.write = ["label-tiff", *args.write]  # which cells are looked up in
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if "detector" in args.kinds and args.checkpoint is None:
            args.checkpoint = train(folder, args)
        print(
            "\n| model | pixels a side | nuclei | cells | nuclei found by one cell of their own | s of the processor "
            "| memory | anonymous |\n|---|---|---|---|---|---|---|---|"
        )
        for side in args.sides:
            scene = Scene(side)
            picture = folder / f"{side}.ome.tif"
            if not picture.exists():
                write_scene(picture, scene)
            for kind in args.kinds:
                out = folder / f"{kind}-{side}"
                shutil.rmtree(out, ignore_errors=True)
                done = run(command(kind, scene, picture, out, args), args)
                alone, _ = found_centres(scene, out / "labels" / f"{side}.ome.tif")
                cells = cells_in(out)
                print(
                    f"| {kind} | {side:,} | {len(scene):,} | {cells:,} | {alone / len(scene):.1%} | {done.cpu_s:,.0f} "
                    f"| {done.peak_mib:,.0f} MiB | {done.anonymous_mib:,.0f} MiB |",
                    flush=True,
                )
                if args.stages:
                    print_stages(done)
                if args.folder is None:
                    shutil.rmtree(out)


def command(
    kind: str, scene: Scene, picture: Path, out: Path, args: argparse.Namespace
) -> list[str]:
    """Return the arguments of ``cellseg``."""
    common = [str(picture), "--out-dir", str(out), "--device", "cpu", "--memory", args.memory]
    common += ["--tile", args.tile, "--write", *args.write]
    if kind == "pixel":
        return ["infer", "nuclei", *common]
    # Caps of the config are for the densest image of its data.
    most = 4 * len(scene)
    options = [
        f"test_dataloader.dataset.pipeline.1.scale_factor={args.enlarged}",
        f"model.test_cfg.rpn.nms_pre={most}",
        f"model.test_cfg.rpn.max_per_img={most}",
        f"model.test_cfg.rcnn.max_per_img={most}",
    ]
    return ["infer", DETECTOR, str(args.checkpoint), *common, "--cfg-options", *options]


def train(folder: Path, args: argparse.Namespace) -> Path:
    """Train the detector on pictures like the large ones, and return its checkpoint."""
    data, work = folder / "train", folder / "training"
    data.mkdir(exist_ok=True)
    write_training_set(data, args.train_images)
    dataset = {"data_root": f"{data}/", "ann_file": "train.json", "data_prefix.img": ""}
    options = {
        **{f"train_dataloader.dataset.{key}": value for key, value in dataset.items()},
        "train_cfg.max_epochs": args.epochs,
        "train_cfg.val_interval": 10 * args.epochs,
        "param_scheduler.1.end": args.epochs,
        "param_scheduler.1.T_max": args.epochs,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "val_dataloader": None,
        "val_cfg": None,
        "val_evaluator": None,
        "test_dataloader": None,
        "test_cfg": None,
        "test_evaluator": None,
        "randomness.seed": 0,
        "default_hooks.checkpoint.save_best": None,
    }
    given = [f"{key}={value}" for key, value in options.items()]
    arguments = ["train", DETECTOR, "--work-dir", str(work), "--cfg-options", *given]
    done = run(arguments, args)
    print(f"training of the detector: {done.cpu_s:,.0f} s of the processor", flush=True)
    return work / f"epoch_{args.epochs}.pth"


def run(arguments: list[str], args: argparse.Namespace) -> Measured:
    """Run ``cellseg`` and look at its memory until it ends.

    Raises:
        CellsegError: it failed, or took too long.
    """
    threads = str(args.threads)
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, threads) | {"PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as folder:
        log, output = Path(folder) / "stages", Path(folder) / "output"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "large_worker.py"), str(log), *arguments],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        begin = time.monotonic()
        samples: list[tuple[float, float]] = []
        peak = anonymous = 0.0
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            memory = memory_mib(process.pid)
            samples.append((time.monotonic(), memory["VmRSS"]))
            peak = max(peak, memory["VmRSS"], memory["VmHWM"])
            anonymous = max(anonymous, memory["RssAnon"])
            if time.monotonic() - begin > args.timeout:
                process.kill()
                os.wait4(process.pid, 0)
                raise CellsegError(f"cellseg {' '.join(arguments)}: over {args.timeout:g} s")
            time.sleep(EVERY_S)
        if status:
            raise CellsegError(
                f"cellseg {' '.join(arguments)} failed:\n{output.read_text()[-4000:]}"
            )
        wall = time.monotonic() - begin
        stages = stages_of(log, samples)
    return Measured(usage.ru_utime + usage.ru_stime, wall, peak, anonymous, stages)


def memory_mib(pid: int) -> dict[str, float]:
    """Return the memory of a process and its children together, in MiB; `VmHWM` of the process alone."""
    total: dict[str, float] = defaultdict(float)
    todo = [pid]
    while todo:
        one = todo.pop()
        try:
            status = Path(f"/proc/{one}/status").read_text()
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended meanwhile
            continue
        for line in status.splitlines():
            key, _, value = line.partition(":")
            if key in ("VmRSS", "RssAnon") or (key == "VmHWM" and one == pid):
                total[key] += int(value.split()[0]) / 1024
    return total


def stages_of(log: Path, samples: list[tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return what each stage took, in the order of their beginnings."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("]")]
    times = [line[0] for line in lines]
    seconds: dict[str, float] = defaultdict(float)
    most: dict[str, float] = defaultdict(float)
    for line, following in pairwise(lines):
        seconds[line[2]] += following[1] - line[1]
    for moment, memory in samples:
        number = bisect_right(times, moment) - 1
        if number >= 0:
            stage = lines[number][2]
            most[stage] = max(most[stage], memory)
    return {stage: (seconds[stage], most[stage]) for stage in seconds}


def print_stages(done: Measured) -> None:
    print(f"\n{done.wall_s:,.0f} s on the clock")
    print("| stage | s of the processor | most memory |\n|---|---|---|")
    for stage, (seconds, memory) in done.stages.items():
        print(f"| {stage} | {seconds:.1f} | {memory:,.0f} MiB |")
    print(flush=True)


def cells_in(out: Path) -> int:
    """Return how many cells a run found, by its own record."""
    with (out / ".cellseg-run" / "finished").open("rb") as file:
        return int(json.loads(file.readline())["num_cells"])


if __name__ == "__main__":
    run_tool(main)
