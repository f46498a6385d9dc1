#!/usr/bin/env python
"""Measure dense images: mmdet's N x height x width masks against masks in their own boxes, side by side.

The images are the competition's, from ``--data``, data/sartorius or CELLSEG_REAL_DATA/sartorius, else synthetic ones of
the same density. Each piece of work runs in a process of its own, up to five times, long ones once; the table has
medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cases
import scaling
import scenes
from measure import Case, Measured, measure

from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.terminal import run_tool


@dataclass(frozen=True)
class Comparison:
    """A row of the table; ``goal`` and ``memory_goal`` are how many times as fast and as lean ours should be."""

    name: str
    case: Case
    args: tuple[Any, ...]
    warm_up: tuple[Any, ...]
    goal: float | None = None
    memory_goal: float | None = None
    count: int = 1  # pieces of work in one run
    unit: str = "ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with train.csv and train/")
    parser.add_argument(
        "--out",
        type=Path,
        default=scenes.RESULTS,
        help="folder for bench.md and bench.json (default: work_dirs/bench of the repository)",
    )
    parser.add_argument("--checkpoint", help="of the small CPU config, for the test loop")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = scenes.prepare(scenes.find(args.data), Path(folder))
        chosen = [row for row in comparisons(data, args.checkpoint) if args.only in row.name]
        rows = [compare(row) for row in chosen]
        table = to_markdown(rows, data.name)
        if not args.only:
            table += "\n" + scaling.table()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in (("bench.json", json.dumps(rows, indent=1)), ("bench.md", table)):
        with atomic_write(args.out / name) as path:
            path.write_text(text, encoding="utf-8")
    print(f"\n{table}\nwritten to {args.out}/bench.md and bench.json")


def comparisons(data: scenes.Scenes, checkpoint: str | None) -> Iterator[Comparison]:
    warm_images = (data.sparsest, data.images)
    row = partial(
        Comparison,
        "load + augment, densest images",
        cases.load_and_augment,
        (data.densest, data.images),
        warm_images,
    )
    yield row(goal=20, memory_goal=5, count=scenes.NUM_DENSEST)
    yield Comparison(
        "load + augment, all images",
        cases.load_and_augment,
        (data.all, data.images),
        warm_images,
        goal=6,
        count=data.num_images,
    )
    yield Comparison(
        "mask targets, 128 positives, 790 instances at 1333",
        cases.mask_targets,
        (data.all, 790),
        (data.sparsest, 2, 2),
        goal=50,
        memory_goal=20,
    )
    for num_cells in (790, 2000):
        yield Comparison(
            f"paste + RLE, {num_cells} instances",
            cases.paste_and_encode,
            (data.all, num_cells),
            (data.sparsest, 2),
            goal=10,
            memory_goal=10,
        )
    yield Comparison(
        "label map to RLE, 790 cells",
        cases.label_map_to_rle,
        (data.all, 790),
        (data.sparsest, 2),
        goal=500,
    )
    yield Comparison(
        "COCO AP, 500 images, 40,000 cells",
        cases.coco_ap,
        (data.all, 500, 40_000),
        (data.sparsest, 1, 2),
        goal=50,
    )
    weights = "trained" if checkpoint else "untrained"
    yield Comparison(
        f"test.py, densest images, small model, {weights}",
        cases.test_loop,
        (data.densest, data.images, checkpoint),
        (data.sparsest, data.images, checkpoint),
        count=scenes.NUM_DENSEST,
    )


def compare(row: Comparison) -> dict[str, Any]:
    """Measure both sides and return the row of bench.json; times are for one of ``count`` pieces of work."""
    stock, ours = (
        measure(row.case, is_ours, *row.args, warm_up=(is_ours, *row.warm_up))
        for is_ours in (False, True)
    )
    found = {
        "name": row.name,
        "stock": per_piece_ms(stock, row.count),
        "ours": per_piece_ms(ours, row.count),
        "unit": row.unit,
        "ratio": stock.seconds / ours.seconds,
        "goal": row.goal,
        "stock_mb": stock.peak_mb,
        "ours_mb": ours.peak_mb,
        "memory_goal": row.memory_goal,
        "runs": [stock.num_runs, ours.num_runs],
    }
    print(f"{row.name}: {found['stock']:.1f} ms, ours {found['ours']:.2f} ms", flush=True)
    return found


def per_piece_ms(measured: Measured, count: int) -> float:
    return 1e3 * measured.seconds / count


def to_markdown(rows: list[dict[str, Any]], data_name: str) -> str:
    lines = [
        f"{data_name}; {os.cpu_count()} CPU cores ({platform.machine()}).",
        "",
        "| what | mmdet, notebook or pycocotools | ours | times as fast | goal | memory | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory = f"{row['stock_mb']:.0f} -> {row['ours_mb']:.0f} MB"
        lines.append(
            f"| {row['name']} | {row['stock']:.1f} {row['unit']} | {row['ours']:.2f} {row['unit']} "
            f"| {row['ratio']:.1f} | {times(row['goal'])} | {memory} | {times(row['memory_goal'], '1/')} |"
        )
    return "\n".join(lines) + "\n"


def times(goal: float | None, prefix: str = "") -> str:
    return "" if goal is None else f"{prefix}{goal:g}"


if __name__ == "__main__":
    run_tool(main)
