#!/usr/bin/env python
"""Count the cells that differ between a picture in tiles and the whole: ours, Cellpose, StarDist and sahi, in one run.

A model is [KIND:]NAME[=CHECKPOINT][@float64]. NAME is a model that ships, a config of ours, mask-rcnn_r18_bn or
rtmdet-ins_tiny (see `own_seams.py`), stardist or cellpose; without a checkpoint the weights are random, of a peer they
have to be given (`equal_budget.py` trains them). KIND is exact, as `cellseg infer --tile` works; overlap, the tiles of
a model that cannot be cut open, once with each of --overlaps; or sahi, its slices of our model. What is not installed
is said to be skipped; --peers-python names the interpreter of an environment that has the peers.

Pictures are taken at equal distances from the largest half of each data set, NAME=ANNOTATIONS:FOLDER, and cut into 2, 4
and 9 tiles: sides are the same for all models, in pixels of the picture. Each model runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from inference import chosen, run, write_pictures
from own_models import any_score
from own_seams import model_config
from seam_count import Differences, Found, differences, total

from cellseg_mmdet.annotations import read_annotations
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.shipped import list_models
from cellseg_mmdet.terminal import run_tool

WORKER = Path(__file__).with_name("seams_worker.py")
PEERS = ("cellpose", "stardist")
KINDS = ("exact", "overlap", "sahi")
SHIPPED = [model.name for model in list_models()]
CUTS = (2, 4, 9)
# Instances of a picture that random weights give.
MOST = 100
HEADER = (
    "| model | tiles | data | cells | differ, 2 tiles | 4 | 9 | of all | changed (IoU < 0.9) | lost | added "
    "| largest score difference |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Subject:
    """A model and how it is cut."""

    kind: str
    name: str
    checkpoint: str | None
    float64: bool
    overlap: int | None = None

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Read ``[KIND:]NAME[=CHECKPOINT][@float64]``.

        Raises:
            UsageError: there is no such kind, or a peer has no weights.
        """
        rest, at, dtype = text.rpartition("@")
        if not at:
            rest, dtype = text, "float32"
        if dtype not in ("float32", "float64"):
            raise UsageError(f"{text}: behind @ is {dtype!r}; float64 is allowed there")
        kind, colon, name = rest.partition(":")
        if not colon:
            kind, name = "exact", rest
        if kind not in KINDS:
            raise UsageError(f"{text}: the kind is {kind!r}; allowed are {', '.join(KINDS)}")
        name, _, checkpoint = name.partition("=")
        if name in PEERS:
            if kind != "exact" or not checkpoint:
                raise UsageError(f"{text}: of a peer give {name}=CHECKPOINT")
            kind = name
        return cls(kind, name, checkpoint or None, dtype == "float64")

    @property
    def weights(self) -> str:
        """What they are."""
        return "trained" if self.checkpoint or self.name in SHIPPED else "random weights"

    @property
    def title(self) -> str:
        """Of the rows."""
        notes = [self.weights] + ["float64"] * self.float64
        return f"{Path(self.name).stem} ({', '.join(notes)})"


@dataclass
class DataSet:
    """Pictures, and the sides of their tiles by the number of tiles."""

    name: str
    pictures: list[str] = field(default_factory=list)
    sides: list[dict[str, int]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FILE:FOLDER")
    parser.add_argument("--count", type=int, default=4, help="pictures of each data set")
    parser.add_argument("--overlaps", nargs="*", default=["auto"], help="auto, or pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--out", type=Path, help="write all numbers, as JSON")
    args = parser.parse_args()
    subjects = [each for text in args.models for each in with_overlaps(text, args.overlaps)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = [data_set(text, args.count, folder) for text in args.data]
        for each in sets:
            print(f"{each.name}: {len(each.pictures)} pictures")
        print(f"{args.threads} threads\n\n{HEADER}", flush=True)
        for subject in subjects:
            for data in sets:
                found = measured(subject, data, folder, args.threads, args.peers_python)
                rows.append(
                    {"model": subject.title, "kind": subject.kind, "data": data.name} | found
                )
                print(row(subject, data, found), flush=True)
                if args.out:
                    args.out.write_text(json.dumps(rows, indent=1))


def with_overlaps(text: str, overlaps: Sequence[str]) -> list[Subject]:
    """Return the subjects of an argument: one, or one an overlap."""
    subject = Subject.parse(text)
    if subject.kind != "overlap":
        return [subject]
    pixels = [None if each == "auto" else int(each) for each in overlaps]
    return [
        Subject(subject.kind, subject.name, subject.checkpoint, subject.float64, each)
        for each in pixels
    ]


def data_set(text: str, count: int, folder: Path) -> DataSet:
    """Read a data set's larger pictures.

    Raises:
        UsageError: the argument is no NAME=FILE:FOLDER.
    """
    name, equals, places = text.partition("=")
    annotations, colon, images = places.rpartition(":")
    if not equals or not colon:
        raise UsageError(f"--data {text}: give NAME=ANNOTATIONS:FOLDER")
    records = sorted(
        read_annotations(annotations), key=lambda each: -each.masks.height * each.masks.width
    )
    records = chosen(records[: max(2, len(records) // 2)], count)
    out = folder / name
    out.mkdir()
    sides = [sides_of(record.masks.height, record.masks.width) for record in records]
    return DataSet(name, write_pictures(records, Path(images), out), sides)


def sides_of(height: int, width: int) -> dict[str, int]:
    """Return the sides of square tiles that cut a picture into 2, 4 and 9; no 2 of one that is nearly square.

    Example:
        >>> sides_of(520, 704)
        {'2': 520, '4': 352, '9': 235}
    """
    short, long = sorted((height, width))
    sides = {"4": -(-long // 2), "9": -(-long // 3)}
    if long > short + 64:
        sides = {"2": max(short, sides["4"])} | sides
    return sides


def measured(
    subject: Subject, data: DataSet, folder: Path, threads: int, peers_python: str
) -> dict[str, Any]:
    """Return what a worker found, compared; or ``fault``, why there is nothing."""
    out = folder / f"{subject.kind}-{Path(subject.name).name}-{subject.overlap}-{data.name}"
    out.mkdir(exist_ok=True)
    job = {
        "kind": subject.kind,
        "checkpoint": subject.checkpoint,
        "float64": subject.float64,
        "overlap": subject.overlap,
        "threads": threads,
        "pictures": data.pictures,
        "sides": data.sides,
        "out": str(out),
    }
    python = peers_python if subject.name in PEERS else sys.executable
    if subject.name not in PEERS:
        job |= settings_of(subject, folder)
        if subject.weights != "trained":
            job["checkpoint"] = str(folder / f"{Path(subject.name).name}.pth")
            if not Path(job["checkpoint"]).exists():
                fault, _ = run(python, job | {"kind": "random"}, out, threads, WORKER)
                if fault:
                    return {"fault": fault}
    fault, _ = run(python, job, out, threads, WORKER)
    return {"fault": fault} if fault else compared(data, out)


def settings_of(subject: Subject, folder: Path) -> dict[str, Any]:
    """Return config, options of it and the least score that sahi keeps."""
    if subject.name in SHIPPED:
        return {"config": subject.name, "options": {}, "least_score": 0.5}
    config = model_config(subject.name, folder)
    if subject.weights == "trained":
        steps = load_config(config).get("postprocess") or []
        scores = [step["score_thr"] for step in steps if step["type"] == "ScoreThreshold"]
        least = max((float(np.min(each)) for each in scores), default=0.05)
        return {"config": config, "options": {}, "least_score": least}
    options = any_score(config, MOST) or {
        f"postprocess.{index}.score_thr": 0.0
        for index, step in enumerate(load_config(config).get("postprocess") or [])
        if "score_thr" in step
    }
    return {"config": config, "options": options, "least_score": 0.05}


def compared(data: DataSet, out: Path) -> dict[str, Any]:
    """Return the differences by number of tiles, and what tiles that overlap told."""
    by_cut: dict[str, list[Differences]] = {str(cut): [] for cut in CUTS}
    told: dict[str, list[int]] = {}
    cells = 0
    for number, sides in enumerate(data.sides):
        whole, _ = read_found(out / f"{number}-whole.npz")
        cells += len(whole.masks)
        for label in sides:
            tiles, notes = read_found(out / f"{number}-{label}.npz")
            by_cut[label].append(differences(whole, tiles))
            for key, value in notes.items():
                told.setdefault(key, []).append(value)
    sums = {label: total(parts) for label, parts in by_cut.items()}
    return {
        "cells": cells,
        "cuts": {label: {**vars(each), "differ": each.differ} for label, each in sums.items()},
        "told": told,
    }


def read_found(path: Path) -> tuple[Found, dict[str, int]]:
    """Return what a worker found, and what it told of it."""
    with np.load(path) as data:
        if "label_map" in data:
            return Found.from_label_map(data["label_map"], data.get("scores")), {}
        size_hw = data["size_hw"].tolist()
        masks = Runs(data["starts"], data["lengths"], data["offsets"], *size_hw)
        notes = {
            name: int(data[name])
            for name in ("num_windows", "num_grown", "num_cut", "overlap")
            if name in data
        }
        return Found(masks, data["scores"], data["labels"]), notes


def row(subject: Subject, data: DataSet, found: dict[str, Any]) -> str:
    """Return the line of the table."""
    if "fault" in found:
        return f"| {subject.title} | {found['fault']} | {data.name} | | | | | | | | | |"
    cuts = [
        Differences(**{k: v for k, v in each.items() if k != "differ"})
        for each in found["cuts"].values()
    ]
    everything = total(cuts)
    counts = " | ".join(str(cut.differ) if cut.cells else "-" for cut in cuts)
    percent = 100 * everything.differ / max(everything.cells, 1)
    rate = f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
    visible = f" ({everything.visibly_changed})" if everything.changed else ""
    scores = "-" if subject.kind == "cellpose" else f"{everything.largest_score_difference:.1g}"
    return (
        f"| {subject.title} | {how(subject, found['told'])} | {data.name} | {found['cells']} | {counts} | {rate} "
        f"| {everything.changed}{visible} | {everything.lost} | {everything.added} | {scores} |"
    )


def how(subject: Subject, told: dict[str, list[int]]) -> str:
    """Return how the picture was cut."""
    if subject.kind == "stardist":
        return "predict_instances_big"
    if subject.kind == "cellpose":
        return "its own (overlap 0.1)"
    if subject.kind == "sahi":
        return "sahi (overlap 0.2)"
    if subject.kind == "exact":
        return "exact"
    used = sorted(told["overlap"])
    pixels = f"auto: {used[0]} to {used[-1]}" if subject.overlap is None else str(subject.overlap)
    again = (
        f"{sum(told['num_windows'])} windows, {sum(told['num_grown'])} cells again in larger ones"
    )
    return f"overlap {pixels} pixels; {again}"


if __name__ == "__main__":
    run_tool(main)
