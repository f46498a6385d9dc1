#!/usr/bin/env python
"""Measure post-processing: the list of a config, step by step, and every step and rule alone.

The predictions are cells of one image, each found several times some pixels beside where it is: those of the densest
image of an annotation file, or synthetic ones. All scores pass the usual thresholds, so that each step has to deal
with all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import Step, build_pipeline
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.synthetic import generate_image
from cellseg_mmdet.terminal import run_tool

CONFIG = Path(__file__).parents[2] / "configs/mask_rcnn/mask-rcnn_r50_fpn_20e_sartorius.py"
ALONE = [
    dict(type="BoxNMS", overlap_thr=0.5),
    dict(type="MaskNMS", overlap_thr=0.5),
    dict(type="MaskNMS", overlap_thr=0.5, measure="ios"),
    dict(type="FillHoles"),
    dict(type="LargestComponent"),
    dict(type="Smooth", radius_px=1),
    dict(type="Smooth", radius_px=2, method="opening"),
    dict(type="Smooth", radius_px=2, method="closing"),
    dict(type="RemoveOverlaps", min_kept_fraction=0.6),
    dict(type="RemoveOverlaps", give_to="smaller"),
    dict(type="RemoveOverlaps", give_to="nearest"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ann", type=Path, help="annotation file, COCO or MMDetection 3.x")
    parser.add_argument("--config", type=Path, default=CONFIG, help="config with a `postprocess`")
    parser.add_argument("--num-instances", type=int, default=2000)
    parser.add_argument("--jitter-px", type=float, default=1.5, help="standard deviation, per axis")
    args = parser.parse_args()
    cells = densest(args.ann) if args.ann else synthetic_cells()
    raw = detections(cells, args.num_instances, args.jitter_px)
    print(
        f"{len(raw)} instances of {raw.masks.areas.mean():.0f} pixels on average, "
        f"{len(cells)} cells on {raw.height} x {raw.width}; medians of 20 runs"
    )
    print(f"\nthe list of {args.config.name}, one step after the other")
    total_ms = measure(pipeline_from_config(args.config).steps, raw)
    print(f"{total_ms:8.1f} ms  all")
    print("\neach alone on all instances")
    for config in ALONE:
        parameters = ", ".join(f"{key}={value}" for key, value in config.items() if key != "type")
        measure(build_pipeline([config]).steps[:1], raw, parameters)


def densest(annotations: Path) -> Runs:
    return max((record.masks for record in read_annotations(annotations)), key=len)


def synthetic_cells() -> Runs:
    label_map = generate_image("shsy5y", 520, 704, 790, np.random.default_rng(0))[1]
    return Runs.from_label_map(label_map)


def detections(cells: Runs, num_instances: int, jitter_px: float) -> ImagePrediction:
    """Find the cells in turn until there are ``num_instances``, each time at another place near by."""
    rng = np.random.default_rng(0)
    pixels, owner = cells[np.arange(num_instances) % len(cells)].pixels()
    shift = np.rint(rng.normal(0, jitter_px, (2, num_instances))).astype(np.int64)
    x, y = np.stack(np.divmod(pixels, cells.height)) + shift[:, owner]
    inside = (x >= 0) & (x < cells.width) & (y >= 0) & (y < cells.height)
    masks = Runs.from_pixels(
        (x * cells.height + y)[inside], owner[inside], num_instances, cells.height, cells.width
    )
    return ImagePrediction(
        image_id="benchmark",
        img_id=None,
        height=cells.height,
        width=cells.width,
        boxes=masks.boxes.astype(np.float32),
        scores=rng.uniform(0.95, 1, num_instances).astype(np.float32),
        labels=np.zeros(num_instances, dtype=np.int64),
        masks=masks,
    )


def measure(
    steps: Sequence[Step], prediction: ImagePrediction, note: str = "", num_runs: int = 20
) -> float:
    """Print the time of each step and how many instances it leaves; return the time of all in ms."""
    total_ms = 0.0
    for step in steps:
        seconds = []
        for _ in range(num_runs):
            begin = time.perf_counter()
            result = step(prediction)
            seconds.append(time.perf_counter() - begin)
        median_ms = 1e3 * statistics.median(seconds)
        total_ms += median_ms
        print(
            f"{median_ms:8.1f} ms  {type(step).__name__:<17}"
            f"{len(prediction):>6} -> {len(result):<6}{note}"
        )
        prediction = result
    return total_ms


if __name__ == "__main__":
    run_tool(main)
