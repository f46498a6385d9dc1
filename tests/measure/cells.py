"""Masks whose measures are known, or are measured by others."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from cellseg_mmdet.masks import RoIMasks, Runs


def masks_of(*bitmaps: np.ndarray) -> RoIMasks:
    """Return the masks of full bitmaps (H, W), which may overlap."""
    return RoIMasks.from_ndarray(np.array(bitmaps, dtype=np.uint8))


def one(bitmap: np.ndarray) -> RoIMasks:
    """Return the mask of one cell."""
    return RoIMasks.from_runs(Runs.from_label_map(np.asarray(bitmap, dtype=np.int64)))


def disc(radius: float, size: int, inner: float = -1.0) -> np.ndarray:
    """Return a disc, or a ring, in the middle of (size, size)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(y, x)
    return (distance <= radius) & (distance > inner)


def rectangle(height: int, width: int, margin: int = 2) -> np.ndarray:
    """Return a rectangle with a margin around it."""
    return np.pad(np.ones((height, width), bool), margin)


@st.composite
def bitmaps(draw: st.DrawFn, longest: int = 12) -> np.ndarray:
    """Return cells of any shape, in any number of pieces, with at least a pixel."""
    height, width = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = rng.random((height, width))
    if draw(st.booleans()):  # as cells are
        kernel = np.ones(3) / 3
        for axis in (0, 1):
            noise = (
                np.apply_along_axis(np.convolve, axis, noise, kernel, mode="same")
                if min(noise.shape) >= 3
                else noise
            )
    bitmap = noise >= np.quantile(noise, draw(st.floats(0, 1)))
    bitmap[np.unravel_index(noise.argmax(), noise.shape)] = True
    return bitmap
