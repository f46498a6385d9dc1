#!/usr/bin/env python
"""Train ours, Cellpose and StarDist for the same core-minutes on the same images, and score all with one scorer.

A model is the name of a config of ours, cellpose, cellpose-sizes or stardist. Of the folds that `cellseg convert`
wrote, one is scored and the others are learned from; one of these chooses the thresholds. What counts is the CPU time
of the training and of all processes that it starts, without the start of the program and without the few steps that are
timed first, so that the schedule of learning rates ends with the budget; a training that passes it is stopped, and its
last weights are taken.

Each model and seed is a row that is kept in --out; the same command goes on where it stopped. The table is table.md
there. MODEL+VARIANT is a row of a config with a change that `variants.py` names. --curves scores the checkpoints that
were kept on the way as well, on the scored images, with the thresholds of the end; equal_report.py adds the rows to
docs/equal-budget, with what bounds them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import own_models
import peer_models
from equal_rows import chapter, machine
from equal_training import KEPT, Part, Plan, RowError, run_worker, train_ours, train_peer
from inference import PEERS, write_pictures
from variants import diameter_of, options_of, row_name, split_model

from cellseg_mmdet.annotations import file_set, read_annotations, stage_annotation_parts
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.terminal import run_tool

IMAGE_FOLDERS = {"sartorius": "train", "dsb2018": "stage1_train"}


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
    parser.add_argument(
        "--curves", action="store_true", help="score checkpoints on the way as well"
    )
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    plan = prepare(args)
    for seed in args.seeds:
        for model in args.models:
            make_row(plan, model, seed)
            if args.curves:
                add_curve(plan, model, seed)
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
        records = read_annotations(path)
        parts["scored" if fold == args.score_fold else "learn"] += records
        if fold == args.threshold_fold:
            parts["choose"] = records
    check_sources(args.data, parts["learn"], parts["scored"])
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


def check_sources(data: str, learned: Sequence[ImageRecord], scored: Sequence[ImageRecord]) -> None:
    """Check that nothing that is scored looks like what is learned from: images of one group are on one side.

    Raises:
        UsageError: a group is on both sides, or DSB2018, which is full of pieces of one field, has none.
    """
    without = [record.file_name for record in [*learned, *scored] if record.group is None]
    if data == "dsb2018" and without:
        raise UsageError(
            f"{len(without)} images, such as {without[0]}, have no group: pieces of one field may be learned from and "
            "scored; convert with --group-by source"
        )
    shared = {record.group for record in learned} & {record.group for record in scored} - {None}
    if shared:
        raise UsageError(
            f"images of group {min(map(str, shared))!r} are learned from, and others of it scored; groups on both "
            f"sides: {len(shared)}, allowed: none"
        )


def make_row(plan: Plan, model: str, seed: int) -> None:
    """Train, choose thresholds and score, unless that is done."""
    folder = row_folder(plan, model, seed)
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
        row = {
            "key": key,
            "machine": machine(),
            "cpu_s": ran.cpu_s,
            "stopped": ran.status is None,
            "options": options_of(model) if model not in PEERS else [],
        }
        row |= judged(plan, model, checkpoint, folder)
    except RowError as error:  # not kept: the next run tries again
        print(f"{model}, seed {seed}: {error}", flush=True)
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(row, indent=1))


def judged(plan: Plan, model: str, checkpoint: str, folder: Path) -> dict[str, Any]:
    """Return the thresholds that score best on their fold, and the scores with them on the other."""
    settings = peer_models.THRESHOLDS.get(model) or own_models.thresholds_of(split_model(model)[0])
    tried = predicted(plan, model, checkpoint, plan.choose, settings, folder, "choosing")
    shutil.rmtree(folder / "choosing")
    means = [statistics.mean(scores) for scores in tried]
    best = settings[int(np.argmax(means))]
    (scores,) = predicted(plan, model, checkpoint, plan.scored, [best], folder, "cells")
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
    where: str,
) -> list[list[float]]:
    """Return the competition's score of each picture, for each of the settings.

    The label maps are kept in a folder of that name in the row's: ``<settings>-<picture>.npy``.
    """
    out = folder / where
    out.mkdir(exist_ok=True)
    job = {
        "task": "predict",
        "kind": model if model in PEERS else "ours",
        "config": model if model in PEERS else split_model(model)[0],
        "options": [] if model in PEERS else options_of(model),
        "diameter_px": None if model in PEERS else diameter_of(model),
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


def add_curve(plan: Plan, model: str, seed: int) -> None:
    """Write ``curve``, [CPU seconds, score] of each checkpoint, into a row that has none."""
    folder = row_folder(plan, model, seed)
    path = folder / "row.json"
    if not path.exists() or not (folder / KEPT).exists():
        return
    row = json.loads(path.read_text())
    if "curve" in row:
        return
    curve = []
    for name, cpu_s in json.loads((folder / KEPT).read_text()):
        print(f"{model}, seed {seed}: {name}", flush=True)
        settings = [row["thresholds"]]
        (scores,) = predicted(
            plan, model, str((folder / name).resolve()), plan.scored, settings, folder, "on_the_way"
        )
        curve.append([round(cpu_s, 1), round(statistics.mean(scores), 4)])
    shutil.rmtree(folder / "on_the_way", ignore_errors=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(row | {"curve": curve}, indent=1))


def row_folder(plan: Plan, model: str, seed: int) -> Path:
    """Return the folder of a row."""
    return plan.out / "rows" / f"{row_name(model)}-{seed}"


def write_table(plan: Plan, models: Sequence[str], seeds: Sequence[int]) -> None:
    """Write table.md: a line a model, of the rows that there are."""
    paths = [row_folder(plan, model, seed) / "row.json" for model in models for seed in seeds]
    rows = [json.loads(path.read_text()) for path in paths if path.exists()]
    with atomic_write(plan.out / "table.md") as temporary:
        temporary.write_text(chapter(plan.data, rows) + "\n" if rows else "no rows yet\n")


if __name__ == "__main__":
    run_tool(main)
