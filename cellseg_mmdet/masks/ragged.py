"""Index arithmetic for ragged arrays: one flat buffer and the offsets of its segments."""

from __future__ import annotations

from typing import Any

import numpy as np


def offsets_from_lengths(lengths: np.ndarray) -> np.ndarray:
    """Return offsets (N + 1,) int64 such that segment ``i`` is ``offsets[i]:offsets[i + 1]``."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ragged_arange(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return ``concatenate([arange(s, s + n) for s, n in zip(starts, lengths)])`` without the loop."""
    offsets = offsets_from_lengths(lengths)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)


def segment_ids(offsets: np.ndarray) -> np.ndarray:
    """Return for every element of the flat buffer the segment it belongs to."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def segment_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the sum of each segment (N,) int64; 0 where a segment is empty."""
    return np.diff(offsets_from_lengths(values)[offsets])


def segment_reduce(
    ufunc: np.ufunc, values: np.ndarray, offsets: np.ndarray, dtype: Any = None
) -> np.ndarray:
    """Reduce each segment with ``ufunc``; 0 where a segment is empty (``reduceat`` alone would read a neighbour)."""
    out = np.zeros(len(offsets) - 1, dtype=dtype or values.dtype)
    filled = np.diff(offsets) > 0
    if filled.any():
        out[filled] = ufunc.reduceat(values, offsets[:-1][filled], dtype=dtype)
    return out
