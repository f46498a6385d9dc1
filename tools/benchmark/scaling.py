"""How the cost of masks grows: with the foreground, whatever the number of instances times the size of the image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scenes

from cellseg_mmdet.masks import RoIMasks

NUM_CELLS = (100, 1_000, 10_000)
SIZES = (512, 1_024, 2_048, 4_096)


def table() -> str:
    """Return a Markdown table: discs from RLE, resized 1.3 times, flipped, to RLE; and their targets."""
    lines = [
        "Discs of 20 pixels: from RLE, resized 1.3 times, flipped, to RLE; and the targets of 128 positives.",
        "",
        "| instances | " + " | ".join(f"{size} px" for size in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]
    for num_cells in NUM_CELLS:
        cells = [_milliseconds(num_cells, size) for size in SIZES]
        row = " | ".join(f"{way:.1f} + {targets:.1f} ms" for way, targets in cells)
        lines.append(f"| {num_cells:,} | {row} |")
    dense = NUM_CELLS[-1] * SIZES[-1] ** 2 / 1e9
    lines += [
        "",
        f"As N x height x width the last one would be {dense:.0f} GB before it is resized.",
    ]
    return "\n".join(lines) + "\n"


def _milliseconds(num_cells: int, size: int) -> tuple[float, float]:
    rles = scenes.discs(num_cells, size).to_coco()
    masks = RoIMasks.from_rle(rles)
    positives = np.random.default_rng(0).integers(0, num_cells, 128)
    boxes = masks.boxes[positives].astype(np.float32)

    def there_and_back() -> list[dict[str, Any]]:
        return RoIMasks.from_rle(rles).rescale(1.3).flip().to_rle()

    return (
        _median_ms(there_and_back),
        _median_ms(lambda: masks.crop_and_resize(boxes, (28, 28), positives)),
    )


def _median_ms(work: Callable[[], Any], num_runs: int = 5) -> float:
    seconds = []
    for _ in range(num_runs):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(seconds)
