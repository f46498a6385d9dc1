"""Masks to score: of geometry known on paper, drawn at random, and real ones made worse."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from cellseg_mmdet.evaluation import Overlaps
from cellseg_mmdet.masks import Runs

HEIGHT, WIDTH = 10, 20


def runs_of(dense: np.ndarray) -> Runs:
    """Return bitmaps (N, H, W) as masks."""
    instance, y, x = np.nonzero(dense)
    height, width = dense.shape[1:]
    return Runs.from_pixels(x * height + y, instance, len(dense), height, width)


def bitmaps_of(runs: Runs) -> np.ndarray:
    """Return masks as bitmaps (N, H, W)."""
    dense = np.zeros((len(runs), runs.width, runs.height), dtype=bool)
    pixels, owner = runs.pixels()
    dense.reshape(len(runs), -1)[owner, pixels] = True
    return dense.transpose(0, 2, 1)


def columns(*spans: tuple[int, int]) -> Runs:
    """Return masks that each fill the columns from the first up to the second, exclusive."""
    dense = np.zeros((len(spans), HEIGHT, WIDTH), dtype=bool)
    for bitmap, (begin, end) in zip(dense, spans, strict=True):
        bitmap[:, begin:end] = True
    return runs_of(dense)


def overlaps(predicted: Runs | np.ndarray, true: Runs | np.ndarray) -> Overlaps:
    """Return the overlaps of masks, or of bitmaps (N, H, W)."""
    return Overlaps(
        *(masks if isinstance(masks, Runs) else runs_of(masks) for masks in (predicted, true))
    )


@st.composite
def jittered_scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Return rectangles as predicted (N, H, W) and as they are (M, H, W), overlapping or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, largest_shift = draw(st.integers(0, 8)), draw(st.integers(0, 3))
    predicted, true = np.zeros((2, count, HEIGHT, WIDTH), dtype=bool)
    for found, cell in zip(predicted, true, strict=True):
        x, y, shift = rng.integers(0, WIDTH - 4), rng.integers(0, HEIGHT - 4), largest_shift
        width, height = rng.integers(2, 10, size=2)
        cell[y : y + height, x : x + width] = True
        dx, dy = rng.integers(0, shift + 1, size=2)
        found[y + dy : y + height, x + dx : x + width + dx] = True
    return predicted[rng.random(count) < 0.9], true[rng.random(count) < 0.9]


def worsened(masks: Runs, rng: np.random.Generator) -> Runs:
    """Return masks shifted by up to 2 pixels, a tenth of them dropped and a tenth found twice."""
    pixels, owner = masks.pixels()
    x, y = np.divmod(pixels, masks.height)
    shift_x, shift_y = rng.integers(-2, 3, (2, len(masks)))
    x, y = x + shift_x[owner], y + shift_y[owner]
    inside = (x >= 0) & (x < masks.width) & (y >= 0) & (y < masks.height)
    shifted = Runs.from_pixels(
        (x * masks.height + y)[inside], owner[inside], len(masks), masks.height, masks.width
    )
    kept = np.flatnonzero((rng.random(len(masks)) < 0.9) & (shifted.areas > 0))
    twice = rng.choice(kept, len(kept) // 10, replace=False)
    return Runs.concatenate([shifted[kept], masks[twice]])
