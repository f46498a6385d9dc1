"""Index arithmetic for ragged arrays: one flat buffer and the offsets of its segments."""

from __future__ import annotations

from typing import Any

import numpy as np


def offsets_from_lengths(lengths: np.ndarray) -> np.ndarray:
    """Return offsets (N + 1,) int64 such that segment ``i`` is ``offsets[i]:offsets[i + 1]``.

    Example:
        >>> offsets_from_lengths(np.array([2, 0, 3]))
        array([0, 2, 2, 5])
    """
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ragged_arange(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return ``concatenate([arange(s, s + n) for s, n in zip(starts, lengths)])`` without the loop.

    Example:
        >>> ragged_arange(np.array([5, 10]), np.array([2, 3]))
        array([ 5,  6, 10, 11, 12])
    """
    offsets = offsets_from_lengths(lengths)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)


def segment_ids(offsets: np.ndarray) -> np.ndarray:
    """Return for every element of the flat buffer the segment it belongs to.

    Example:
        >>> segment_ids(np.array([0, 2, 2, 5]))
        array([0, 0, 2, 2, 2])
    """
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def segment_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the sum of each segment (N,) int64; 0 where a segment is empty.

    Example:
        >>> segment_sums(np.array([1, 2, 3, 4, 5]), np.array([0, 2, 2, 5]))
        array([ 3,  0, 12])
    """
    return np.diff(offsets_from_lengths(values)[offsets])


def segment_reduce(
    ufunc: np.ufunc, values: np.ndarray, offsets: np.ndarray, dtype: Any = None
) -> np.ndarray:
    """Reduce each segment with ``ufunc``; 0 where a segment is empty (``reduceat`` alone would read a neighbour).

    Example:
        >>> segment_reduce(np.maximum, np.array([1, 2, 5, 4, 3]), np.array([0, 2, 2, 5]))
        array([2, 0, 5])
    """
    out = np.zeros(len(offsets) - 1, dtype=dtype or values.dtype)
    filled = np.diff(offsets) > 0
    if filled.any():
        out[filled] = ufunc.reduceat(values, offsets[:-1][filled], dtype=dtype)
    return out
