"""Pixels of a region with the channels last, a block of channels at a time, for vector instructions over channels."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel

# Channels worked on at once: a few vector registers, and a copy of a region that stays in the cache.
BLOCK = 32


@kernel
def copy_out(planes: np.ndarray, rows: np.ndarray, cols: np.ndarray, window: np.ndarray) -> None:
    """Copy pixels of (C <= BLOCK, H, W) planes to ``window[(row * len(cols) + col) * BLOCK + channel]``."""
    length = cols.size * BLOCK
    for row in range(rows.size):
        for channel in range(planes.shape[0]):
            pixels = planes[channel, rows[row]]
            target = window[row * length + channel : (row + 1) * length]
            for col in range(cols.size):
                target[col * BLOCK] = pixels[cols[col]]


@kernel
def add_back(window: np.ndarray, rows: np.ndarray, cols: np.ndarray, planes: np.ndarray) -> None:
    """Add what stands in ``window``, laid out as ``copy_out`` does, to the pixels of the planes."""
    length = cols.size * BLOCK
    for row in range(rows.size):
        for channel in range(planes.shape[0]):
            pixels = planes[channel, rows[row]]
            values = window[row * length + channel : (row + 1) * length]
            for col in range(cols.size):
                pixels[cols[col]] += values[col * BLOCK]
