"""Cells whose shape is known on paper, and random ones, for all codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from cellseg_mmdet.masks import Runs, pairwise_iou
from cellseg_mmdet.pixel_codes import PixelCode, Turn, build_pixel_code

CONFIGS: dict[str, dict[str, Any]] = {
    "rims": dict(type="RimCode", rim_px=1),
    "rims and agreement": dict(type="RimCode", rim_px=2, rim_agreement=True),
    "foreground": dict(type="RimCode", rim_px=0),
    "flows": dict(type="FlowCode"),
    "distances": dict(type="BoundaryDistanceCode"),
    "stars": dict(type="StarCode"),
    "few rays": dict(type="StarCode", num_rays=8, overlap_thr=0.2),
}


def code_of(name: str) -> PixelCode:
    return build_pixel_code(CONFIGS[name])


def disk(height: int, width: int, y: float, x: float, radius: float) -> np.ndarray:
    """Return the mask (height, width) bool of the pixels whose middle is at most ``radius`` away."""
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def stacked(*masks: np.ndarray) -> Runs:
    """Return masks (H, W) as instances, which may overlap."""
    return Runs.concatenate(
        [Runs.from_label_map(np.asarray(mask, dtype=np.int32)) for mask in masks]
    )


def best_ious(found: Runs, true: Runs) -> np.ndarray:
    """Return the best IoU of each true cell (N,)."""
    return pairwise_iou(found, true).max(axis=0, initial=0)


def turned(runs: Runs, turn: Turn) -> Runs:
    """Return masks of the turned picture."""
    maps = [turn(runs[[index]].to_label_map()) for index in range(len(runs))]
    if not maps:
        size = turn(np.zeros((runs.height, runs.width))).shape
        return Runs.empty(*size)
    return stacked(*maps)


@st.composite
def cells(draw: st.DrawFn, max_side: int = 24) -> Runs:
    """Up to five disks, rectangles and rings, which may overlap, be cut by the border, and be in pieces."""
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    masks = []
    for _ in range(draw(st.integers(0, 5))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        radius = draw(st.floats(0, 9))
        kind = draw(st.sampled_from(["disk", "ring", "bar", "two"]))
        mask = disk(height, width, y, x, radius)
        if kind == "ring":
            mask &= ~disk(height, width, y, x, radius - 2)
        elif kind == "bar":
            mask = np.zeros((height, width), dtype=bool)
            mask[y : y + draw(st.integers(1, 3)), x:] = True
        elif kind == "two":
            mask |= disk(height, width, (y + 12) % height, x, radius / 2)
        masks.append(mask)
    masks = [mask for mask in masks if mask.any()]
    return stacked(*masks) if masks else Runs.empty(height, width)
