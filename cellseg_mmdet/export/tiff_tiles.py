"""What the writers of OME-TIFFs share: tiles, and what says the size of a pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

# From here on offsets of 32 bits may not do, even compressed.
BIG_BYTES = 1 << 31


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


def physical_size(size_um: tuple[float, float] | None) -> dict[str, float | str]:
    """Return the attributes of an OME-XML ``Pixels`` element for height and width of a pixel; none where not known.

    Example:
        >>> physical_size((0.5, 0.25))["PhysicalSizeX"]
        0.25
        >>> physical_size(None)
        {}
    """
    if size_um is None:
        return {}
    height_um, width_um = size_um
    return {
        "PhysicalSizeX": width_um,
        "PhysicalSizeXUnit": "\u00b5m",
        "PhysicalSizeY": height_um,
        "PhysicalSizeYUnit": "\u00b5m",
    }
