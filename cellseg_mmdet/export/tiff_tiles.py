"""Tiles of TIFF files, made of bands of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def tiles_of(bands: Iterable[np.ndarray], side: int) -> Iterator[np.ndarray]:
    """Yield the tiles of a picture row by row, those at its end filled up with 0.

    Args:
        bands: of ``side`` rows (rows, width, ...), the last one of as many as are left.
        side: of the tiles in pixels.

    Example:
        >>> [tile.tolist() for tile in tiles_of([np.array([[1, 2, 3]])], 2)]
        [[[1, 2], [0, 0]], [[3, 0], [0, 0]]]
    """
    for band in bands:
        for left in range(0, band.shape[1], side):
            part = band[:, left : left + side]
            missing = [(0, side - length) for length in part.shape[:2]]
            missing += [(0, 0)] * (part.ndim - 2)
            yield np.pad(part, missing) if any(behind for _, behind in missing) else part.copy()
