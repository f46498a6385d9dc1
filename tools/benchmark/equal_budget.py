#!/usr/bin/env python
"""Train ours, Cellpose and StarDist for the same core-minutes on the same images, and score all with one scorer.

A model is the name of a config of ours, cellpose, cellpose-sizes or stardist. Of the folds that `cellseg convert`
wrote, one is scored, another one chooses the thresholds, and the others are learned from. What counts is the CPU time
of the training and of all processes that it starts, without the start of the program and without the few steps that are
timed first, so that the schedule of learning rates ends with the budget; a training that passes it is stopped, and its
last weights are taken.

Each model and seed is a row that is kept in --out; the same command goes on where it stopped. The table is table.md
there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import own_models
import peer_models
from core_budget import Ran, run_within
from inference import PEERS, ROOT, THREAD_VARIABLES, write_pictures
from inference_worker import NOT_INSTALLED

from cellseg_mmdet.annotations import file_set, read_annotations, stage_annotation_parts
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import CellsegError, UsageError
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.terminal import run_tool

HERE = Path(__file__).parent
IMAGE_FOLDERS = {"sartorius": "train", "dsb2018": "stage1_train"}
NEVER = 10**9
# Of the budget that a schedule is planned for: what is timed before is the fastest of few steps.
PLANNED = 0.9


@dataclass(frozen=True)
class Part:
    """Some of the images: their records, and their pictures for the workers."""

    records: list[ImageRecord]
    pictures: list[str]


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    out: Path
    learn: Part
    choose: Part
    scored: Part
    budget_s: float
    threads: int
    peers_python: str
    data: str


class RowError(CellsegError):
    """A row that could not be made."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", required=True, choices=list(IMAGE_FOLDERS))
    parser.add_argument("--annotations", required=True, type=Path, help="folder of val_fold*.json")
    parser.add_argument("--images", required=True, type=Path)
    parser.add_argument("--score-fold", type=int, default=0)
    parser.add_argument("--threshold-fold", type=int, default=1)
    parser.add_argument("--core-minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="images of each part, to try it out")
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    plan = prepare(args)
    for seed in args.seeds:
        for model in args.models:
            make_row(plan, model, seed)
            write_table(plan, args.models, args.seeds)
    print((plan.out / "table.md").read_text())


def prepare(args: argparse.Namespace) -> Plan:
    """Read the folds, and write what the workers and our trainings read."""
    paths = sorted(args.annotations.glob("val_fold*.json"))
    folds = {int(path.stem.removeprefix("val_fold")): path for path in paths}
    if len({args.score_fold, args.threshold_fold} & folds.keys()) < 2 or len(folds) < 3:
        raise UsageError(
            f"--annotations {args.annotations}: needs val_fold*.json of at least three folds, two of them "
            f"{args.score_fold} and {args.threshold_fold}; found {sorted(folds)}"
        )
    parts: dict[str, list[ImageRecord]] = {"learn": [], "choose": [], "scored": []}
    for fold, path in folds.items():
        name = {args.score_fold: "scored", args.threshold_fold: "choose"}.get(fold, "learn")
        parts[name] += read_annotations(path)
    written = {}
    for name, records in parts.items():
        kept = (
            records[:: max(1, len(records) // args.limit)][: args.limit] if args.limit else records
        )
        folder = args.out / "pictures" / name
        folder.mkdir(parents=True, exist_ok=True)
        written[name] = Part(kept, write_pictures(kept, args.images, folder))
    root = args.out / "data" / args.data
    root.mkdir(parents=True, exist_ok=True)
    link = root / IMAGE_FOLDERS[args.data]
    if not link.exists():
        link.symlink_to(args.images.resolve(), target_is_directory=True)
    records = [*written["learn"].records, *written["scored"].records]
    split = len(written["learn"].records)
    members = {
        root / "annotations/train_fold0.json": range(split),
        root / "annotations/val_fold0.json": range(split, len(records)),
    }
    with file_set(root / "annotations") as files:
        stage_annotation_parts(files, members, records, info={"description": "equal budget"})
    return Plan(
        args.out,
        **written,
        budget_s=60 * args.core_minutes,
        threads=args.threads,
        peers_python=args.peers_python,
        data=args.data,
    )


def make_row(plan: Plan, model: str, seed: int) -> None:
    """Train, choose thresholds and score, unless that is done."""
    folder = plan.out / "rows" / f"{Path(model).stem}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "row.json"
    key = {
        "model": model,
        "seed": seed,
        "budget_s": plan.budget_s,
        "threads": plan.threads,
        "images": [len(part.records) for part in (plan.learn, plan.choose, plan.scored)],
    }
    if path.exists():
        if json.loads(path.read_text())["key"] != key:
            raise UsageError(f"{path} is of other settings: give another --out, or remove it")
        print(f"{model}, seed {seed}: done before", flush=True)
        return
    print(f"{model}, seed {seed}: training", flush=True)
    try:
        checkpoint, ran = (train_peer if model in PEERS else train_ours)(plan, model, seed, folder)
        row = {"key": key, "cpu_s": ran.cpu_s, "stopped": ran.status is None}
        row |= judged(plan, model, checkpoint, folder)
    except RowError as error:  # not kept: the next run tries again
        print(f"{model}, seed {seed}: {error}", flush=True)
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(row, indent=1))


def train_peer(plan: Plan, model: str, seed: int, folder: Path) -> tuple[str, Ran]:
    """Return the weights of a peer, and what its training took."""
    out = (folder / "training").resolve()
    out.mkdir(exist_ok=True)
    job = {
        "task": "train",
        "kind": model,
        "pictures": [str(Path(path).resolve()) for path in plan.learn.pictures],
        "out": str(out),
        "budget_s": plan.budget_s,
        "seed": seed,
        "threads": plan.threads,
    }
    began = out / "began.json"
    began.unlink(missing_ok=True)

    def free_s() -> float:
        # Until the training begins nothing counts.
        return json.loads(began.read_text())["free_s"] if began.exists() else float("inf")

    ran = run_worker(plan, model, job, folder, budget_s=plan.budget_s, free_s=free_s)
    state = out / "result.json" if ran.status == 0 else began
    return json.loads(state.read_text())["checkpoint"], ran


def train_ours(plan: Plan, model: str, seed: int, folder: Path) -> tuple[str, Ran]:
    """Return our last checkpoint, and what its training took."""
    environment = variables(plan.threads) | {
        "CELLSEG_DATA": str(plan.out / "data"),
        "CELLSEG_FOLD": "0",
    }
    log = folder / "log.txt"
    iteration_s, start_s = timed_iteration(model, environment, log)
    iterations = max(1, int(PLANNED * plan.budget_s / iteration_s))
    work_dir = folder / "training"
    command = [sys.executable, "-m", "cellseg_mmdet", "train", model, "--work-dir", str(work_dir)]
    command += ["--cfg-options", f"randomness.seed={seed}", *schedule(plan, model, iterations)]
    ran = run_within(
        command, plan.budget_s, environment=environment, log=log, free_s=lambda: start_s
    )
    last = work_dir / "last_checkpoint"
    if ran.status or not last.exists():
        raise RowError(f"the training ended with status {ran.status}: see {log}")
    return last.read_text().strip(), ran


def timed_iteration(model: str, environment: dict[str, str], log: Path) -> tuple[float, float]:
    """Return the CPU seconds of an iteration, and those of starting the program."""
    batches = 2
    command = [sys.executable, str(HERE / "training.py"), model, "--batches", str(batches)]
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = os.times()
    log.write_text(done.stdout + done.stderr)
    found = {}
    for line in done.stdout.splitlines():
        seconds, _, what = line.strip().partition("  ")
        found[what.partition(",")[0]] = seconds
    if done.returncode or not {"loading", "training step"} <= found.keys():
        raise RowError(f"an iteration could not be timed: see {log}")
    iteration_s = float(found["loading"]) + float(found["training step"])
    used = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return iteration_s, max(0.0, used - (batches + 1) * iteration_s)


def schedule(plan: Plan, model: str, iterations: int) -> list[str]:
    """Return the options that end a config's schedule, its cosine and all, after so many iterations."""
    cfg = load_config(model)
    if "max_iters" in cfg.train_cfg:
        unit, length = "max_iters", iterations
    else:
        batches = -(-len(plan.learn.records) // cfg.train_dataloader.batch_size)
        unit, length = "max_epochs", max(1, round(iterations / batches))
    options = [
        f"train_cfg.{unit}={length}",
        f"train_cfg.val_interval={NEVER}",
        f"default_hooks.checkpoint.interval={max(1, length // 10)}",
    ]
    for index, step in enumerate(cfg.param_scheduler):
        if step["type"] == "CosineAnnealingLR":
            options += [f"param_scheduler.{index}.{name}={length}" for name in ("end", "T_max")]
    return options


def judged(plan: Plan, model: str, checkpoint: str, folder: Path) -> dict[str, Any]:
    """Return the thresholds that score best on their fold, and the scores with them on the other."""
    settings = peer_models.THRESHOLDS.get(model, own_models.THRESHOLDS)
    if "rcnn" in model:
        settings = [values for values in settings if values["mask_thr"] == 0.5]
    tried = predicted(plan, model, checkpoint, plan.choose, settings, folder)
    means = [statistics.mean(scores) for scores in tried]
    best = settings[int(np.argmax(means))]
    (scores,) = predicted(plan, model, checkpoint, plan.scored, [best], folder)
    by_type = defaultdict(list)
    for record, score in zip(plan.scored.records, scores, strict=True):
        by_type[record.cell_type or ""].append(score)
    return {
        "thresholds": best,
        "score": statistics.mean(scores),
        "score_of_thresholds": max(means),
        "by_type": {name: statistics.mean(values) for name, values in sorted(by_type.items())},
    }


def predicted(
    plan: Plan,
    model: str,
    checkpoint: str,
    part: Part,
    settings: Sequence[dict[str, float]],
    folder: Path,
) -> list[list[float]]:
    """Return the competition's score of each picture, for each of the settings."""
    out = folder / "cells"
    out.mkdir(exist_ok=True)
    job = {
        "task": "predict",
        "kind": model if model in PEERS else "ours",
        "config": model,
        "checkpoint": checkpoint,
        "is_stand_in": False,
        "most": 0,
        "threads": plan.threads,
        "pictures": [str(Path(path).resolve()) for path in part.pictures],
        "thresholds": list(settings),
        "out": str(out),
    }
    run_worker(plan, model, job, folder)
    return [
        [
            image_score(
                Overlaps(Runs.from_label_map(np.load(out / f"{place}-{number}.npy")), record.masks)
            )
            for number, record in enumerate(part.records)
        ]
        for place in range(len(settings))
    ]


def run_worker(
    plan: Plan,
    model: str,
    job: dict[str, Any],
    folder: Path,
    *,
    budget_s: float = float("inf"),
    **options: Any,
) -> Ran:
    """Run a worker, and raise if it failed."""
    path, log = folder / "job.json", folder / "log.txt"
    path.write_text(json.dumps(job))
    python = plan.peers_python if model in PEERS else sys.executable
    command = [python, str(HERE / "training_worker.py"), str(path)]
    ran = run_within(command, budget_s, environment=variables(plan.threads), log=log, **options)
    if ran.status == NOT_INSTALLED:
        raise RowError(f"skipped: not installed in {python}")
    if ran.status:
        raise RowError(f"its worker ended with status {ran.status}: see {log}")
    return ran


def variables(threads: int) -> dict[str, str]:
    """Return the environment of the workers."""
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    return environment | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}


def write_table(plan: Plan, models: Sequence[str], seeds: Sequence[int]) -> None:
    """Write table.md: a line a model, of the rows that there are."""
    lines = [
        f"{plan.data}: {len(plan.learn.records)} images learned from, {len(plan.choose.records)} to choose thresholds, "
        f"{len(plan.scored.records)} scored; {plan.budget_s / 60:g} core-minutes\n",
        "| model | seeds | competition mAP (lowest - highest) | by type | core-minutes used | thresholds |",
        "|---|---|---|---|---|---|",
    ]
    for model in models:
        paths = [plan.out / "rows" / f"{Path(model).stem}-{seed}/row.json" for seed in seeds]
        rows = [json.loads(path.read_text()) for path in paths if path.exists()]
        if not rows:
            continue
        scores = [row["score"] for row in rows]
        types = {
            name: statistics.mean(row["by_type"][name] for row in rows)
            for name in rows[0]["by_type"]
        }
        told = ", ".join(f"{name} {value:.3f}" for name, value in types.items() if name) or "-"
        used = " ".join(f"{row['cpu_s'] / 60:.1f}" + "*" * row["stopped"] for row in rows)
        thresholds = "; ".join(
            " ".join(f"{name}={value:g}" for name, value in row["thresholds"].items())
            for row in rows
        )
        lines.append(
            f"| {Path(model).stem} | {len(rows)} | {statistics.mean(scores):.3f} "
            f"({min(scores):.3f} - {max(scores):.3f}) | {told} | {used} | {thresholds} |"
        )
    lines.append("\n\\* stopped at the end of its budget, with its last weights")
    with atomic_write(plan.out / "table.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    run_tool(main)
