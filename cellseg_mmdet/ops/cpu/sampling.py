"""Bilinear samples of a map in the way of RoIAlign: zero more than a pixel outside, else moved to the border."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel


@kernel
def is_inside(y: float, x: float, plane: np.ndarray) -> bool:
    """Tell whether a place is at most a pixel outside of the map (H, W); NaN is not."""
    return -1 <= y <= plane.shape[0] and -1 <= x <= plane.shape[1]


@kernel
def neighbours(position: float, length: int) -> tuple[int, int, float]:
    """Return the pixels below and above a position inside an axis, and the weight of the upper one."""
    position = max(position, position - position)
    low = int(position)
    if low >= length - 1:
        return length - 1, length - 1, position - position
    return low, low + 1, position - np.floor(position)


@kernel
def sample(plane: np.ndarray, y: float, x: float) -> float:
    """Return the value at a place of the map."""
    one = plane.dtype.type(1)
    if not is_inside(y, x, plane):
        return one - one
    top, bottom, down = neighbours(y, plane.shape[0])
    left, right, across = neighbours(x, plane.shape[1])
    return (one - down) * (
        (one - across) * plane[top, left] + across * plane[top, right]
    ) + down * ((one - across) * plane[bottom, left] + across * plane[bottom, right])


@kernel
def add_to_sample(plane: np.ndarray, y: float, x: float, value: float) -> None:
    """Add to the four pixels of a sample ``value`` times their weights."""
    one = plane.dtype.type(1)
    if not is_inside(y, x, plane):
        return
    top, bottom, down = neighbours(y, plane.shape[0])
    left, right, across = neighbours(x, plane.shape[1])
    plane[top, left] += (one - down) * (one - across) * value
    plane[top, right] += (one - down) * across * value
    plane[bottom, left] += down * (one - across) * value
    plane[bottom, right] += down * across * value


@kernel
def slopes(plane: np.ndarray, y: float, x: float) -> tuple[float, float]:
    """Return how fast a sample changes along y and x, 0 along an axis on which it was moved to the border."""
    one = plane.dtype.type(1)
    if not is_inside(y, x, plane):
        return one - one, one - one
    top, bottom, down = neighbours(y, plane.shape[0])
    left, right, across = neighbours(x, plane.shape[1])
    along_y = (one - across) * (plane[bottom, left] - plane[top, left]) + across * (
        plane[bottom, right] - plane[top, right]
    )
    along_x = (one - down) * (plane[top, right] - plane[top, left]) + down * (
        plane[bottom, right] - plane[bottom, left]
    )
    return along_y if y >= 0 else one - one, along_x if x >= 0 else one - one
