"""Ways along vectors from pixel to pixel, without interpolation."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.pixel_codes.heat import DX, DY

# A neighbour lies along a vector where this much of the vector's length points at it: less than 75 degrees off.
_ALONG = np.float32(0.25)


def next_pixels(flows: np.ndarray, regions: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the flat index (P,) int64 of the neighbour that each pixel's vector leads to, or the pixel's own.

    Of the 8 neighbours in its region it is the one whose direction and whose vector agree best with the pixel's vector:
    the length of the vector towards the neighbour, plus the product of both vectors; a short one, as in the middle of a
    cell, agrees with any. So a way keeps to its cell where another one lies beside it.

    Args:
        flows: (2, H, W) float32, y and x.
        regions: (H, W) int32, 0 for background.
        pixels: flat indices (P,) int64.

    Example:
        >>> flows = np.array([[[0, 0, 0]], [[1, 0, -1]]], dtype=np.float32)
        >>> next_pixels(flows, np.ones((1, 3), dtype=np.int32), np.arange(3))
        array([1, 1, 1])
    """
    height, width = regions.shape
    # A border of background: every pixel has eight neighbours.
    own = np.pad(regions, 1).ravel()
    stride = width + 2
    vectors = np.zeros((2, height + 2, stride), dtype=np.float32)
    vectors[:, 1:-1, 1:-1] = flows
    vectors = vectors.reshape(2, -1)
    at = (pixels // width + 1) * stride + pixels % width + 1
    region = own[at]
    along_y, along_x = vectors[:, at]
    length = np.sqrt(along_y * along_y + along_x * along_x)
    best, to = np.zeros(len(at), dtype=np.float32), pixels.copy()
    for step_y, step_x in zip(DY.tolist(), DX.tolist(), strict=True):
        other = at + step_y * stride + step_x
        other_y, other_x = vectors[:, other]
        unit = np.float32(1 / np.hypot(step_y, step_x))
        towards = (along_y * np.float32(step_y) + along_x * np.float32(step_x)) * unit
        short = 1 - np.minimum(np.sqrt(other_y * other_y + other_x * other_x), np.float32(1))
        merit = towards + along_y * other_y + along_x * other_x + length * short
        is_best = (own[other] == region) & (towards > _ALONG) & (merit > best)
        best[is_best] = merit[is_best]
        to[is_best] = pixels[is_best] + step_y * width + step_x
    return to
