"""Orientation of a picture: EXIF's and TIFF's one tag, 1 to 8, applied in one place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# (exchange rows and columns, then flip rows, then flip columns) that turn stored pixels upright; TIFF 6.0, tag 274.
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class Window(NamedTuple):
    """Rows ``y0`` to ``y0 + height`` and columns ``x0`` to ``x0 + width`` of a picture."""

    y0: int
    x0: int
    height: int
    width: int


def usable_orientation(value: object) -> int:
    """Return an orientation tag's value, 1 (upright) if it is none of the eight there are."""
    return value if isinstance(value, int) and value in _STEPS else 1


def oriented_size(size_hw: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return (height, width) of the upright picture."""
    return size_hw[::-1] if _STEPS[orientation][0] else size_hw


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (H, W, ...) upright.

    Example:
        >>> upright(np.array([[1, 2], [3, 4]]), 3).tolist()
        [[4, 3], [2, 1]]
    """
    exchange, flip_rows, flip_columns = _STEPS[orientation]
    if exchange:
        pixels = pixels.swapaxes(0, 1)
    if flip_rows:
        pixels = pixels[::-1]
    return pixels[:, ::-1] if flip_columns else pixels


def stored_window(window: Window, size_hw: tuple[int, int], orientation: int) -> Window:
    """Return where the pixels of a window of the upright picture are stored.

    Args:
        window: of the upright picture.
        size_hw: of the upright picture.
        orientation: 1 to 8.
    """
    exchange, flip_rows, flip_columns = _STEPS[orientation]
    y0, x0, height, width = window
    if flip_rows:
        y0 = size_hw[0] - y0 - height
    if flip_columns:
        x0 = size_hw[1] - x0 - width
    return Window(x0, y0, width, height) if exchange else Window(y0, x0, height, width)
