"""How far each pixel of a cell is from the nearest pixel outside of it."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel

_FAR = 1 << 30  # of a column that nothing ends


def edge_distances(label_map: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance to the nearest pixel of another label as a share of the cell's greatest, in (0, 1].

    (H, W) float32, 0 in the background. What is beyond the image is not looked at; a cell that is all of the image is
    1. It is exact, and takes time in proportion to the area (the lower envelope of parabolas of Felzenszwalb and
    Huttenlocher, 2012, in each run of a row).

    Args:
        label_map: (H, W) int32, 0 for background.

    Example:
        >>> edge_distances(np.array([[0, 1, 1, 1, 0, 2]], dtype=np.int32))
        array([[0. , 0.5, 1. , 0.5, 0. , 1. ]], dtype=float32)
    """
    shares = np.zeros(label_map.shape, dtype=np.float32)
    _shares(label_map, np.zeros(label_map.max(initial=0) + 1, dtype=np.int64), shares)
    return shares


@kernel
def _shares(labels: np.ndarray, greatest: np.ndarray, shares: np.ndarray) -> None:
    height, width = labels.shape
    steps = np.empty((height, width), np.int64)  # along the column, to the nearest other label
    steps[:1] = _FAR
    for y in range(1, height):
        for x in range(width):
            is_same = labels[y, x] == labels[y - 1, x]
            steps[y, x] = min(steps[y - 1, x] + 1, _FAR) if is_same else 1
    for y in range(height - 2, -1, -1):
        for x in range(width):
            below = steps[y + 1, x] + 1 if labels[y, x] == labels[y + 1, x] else 1
            steps[y, x] = min(steps[y, x], below)
    squared = np.empty((height, width), np.int64)  # written in cells
    centers = np.empty(width + 2, np.int64)
    heights, borders = np.empty(width + 2, np.float64), np.empty(width + 3, np.float64)
    for y in range(height):
        begin = 0
        while begin < width:
            label, end = labels[y, begin], begin + 1
            while end < width and labels[y, end] == label:
                end += 1
            if label != 0:
                _run(steps[y], begin, end, width, centers, heights, borders, squared[y])
                for x in range(begin, end):
                    greatest[label] = max(greatest[label], squared[y, x])
            begin = end
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label != 0:
                shares[y, x] = np.sqrt(squared[y, x] / max(greatest[label], 1))


@kernel
def _run(
    steps: np.ndarray,
    begin: int,
    end: int,
    width: int,
    centers: np.ndarray,
    heights: np.ndarray,
    borders: np.ndarray,
    squared: np.ndarray,
) -> None:
    """Write the squared distances of the pixels of one run, from ``begin`` to ``end`` (exclusive) of a row."""
    count = 0
    for x in range(max(begin - 1, 0), min(end + 1, width)):
        is_inside = begin <= x < end
        if is_inside and steps[x] >= _FAR:
            continue
        floor = float(steps[x] * steps[x]) if is_inside else 0.0
        border = -np.inf
        while count > 0:
            last = count - 1
            # Where the parabolas around two centres cross.
            border = (floor + float(x * x) - heights[last] - float(centers[last] ** 2)) / (
                2.0 * float(x - centers[last])
            )
            if border > borders[last]:
                break
            count -= 1
            border = -np.inf
        centers[count], heights[count], borders[count] = x, floor, border
        count += 1
    if count == 0:  # nothing ends this cell: in all of the image
        for x in range(begin, end):
            squared[x] = 1
        return
    borders[count] = np.inf
    at = 0
    for x in range(begin, end):
        while borders[at + 1] < x:
            at += 1
        squared[x] = (x - centers[at]) ** 2 + np.int64(heights[at])
