"""Instances of windows as instances of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellseg_mmdet.masks import Runs


def placed(masks: Runs, y0: int, x0: int, size_hw: tuple[int, int]) -> Runs:
    """Return masks of a window as masks of the picture of ``size_hw`` whose pixel (y0, x0) is the window's first.

    Raises:
        ValueError: the window is not inside the picture.

    Example:
        >>> inner = Runs.from_label_map(np.array([[1, 1]]))
        >>> placed(inner, 1, 2, (3, 4)).boxes.tolist()
        [[2, 1, 4, 2]]
    """
    height, width = size_hw
    if not (0 <= y0 <= height - masks.height and 0 <= x0 <= width - masks.width):
        raise ValueError(
            f"a window of {masks.height} x {masks.width} at {(y0, x0)} is not inside a picture of {height} x {width}"
        )
    if (masks.height, masks.width) == size_hw:
        return masks
    # Runs go down the columns; one that goes on in the next column is taken apart where the window is lower than the
    # picture.
    starts, lengths, owner = _within_columns(masks)
    x, y = np.divmod(starts, max(masks.height, 1))
    counts = np.bincount(owner, minlength=len(masks))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    starts = (x + x0) * height + y + y0
    return Runs.from_sorted(starts, lengths, offsets, height, width)


def _within_columns(masks: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return begins and lengths of runs that each lie in one column, in their order, and the instance of each."""
    height = max(masks.height, 1)
    owner = np.repeat(np.arange(len(masks)), np.diff(masks.offsets))
    first, last = masks.starts // height, (masks.starts + masks.lengths - 1) // height
    pieces = last - first + 1
    index = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(index)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    column = first[index] + number
    begins = np.maximum(masks.starts[index], column * height)
    ends = np.minimum((masks.starts + masks.lengths)[index], (column + 1) * height)
    return begins, ends - begins, owner[index]


def first_pixels(masks: Runs) -> np.ndarray:
    """Return the first pixel of each instance in reading order, (N,) int64 as ``y * width + x``; none may be empty.

    Example:
        >>> first_pixels(Runs.from_label_map(np.array([[0, 2], [1, 2]]))).tolist()
        [2, 1]
    """
    starts, _, owner = _within_columns(masks)
    x, y = np.divmod(starts, max(masks.height, 1))
    first = np.full(len(masks), np.iinfo(np.int64).max)
    np.minimum.at(first, owner, y * masks.width + x)
    return first


def joined(parts: Sequence[Runs], size_hw: tuple[int, int]) -> Runs:
    """Return the masks of all parts in their order, of a picture of ``size_hw`` also where there are none."""
    return Runs.concatenate([Runs.empty(*size_hw), *parts])
