"""The convex hull of each mask: how many pixels it has, and its widest and narrowest extent."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel

CONVEX_AREA, FERET_MAX, FERET_MIN = range(3)
_NUM_COLUMNS = 3
# Of a number that is written out numba compiles a kernel for it alone, for which the first picture waits; not of these.
_UP, _DOWN = np.int64(1), np.int64(-1)


def hulls_of(
    boxes: np.ndarray, bitmaps: np.ndarray, offsets: np.ndarray, spacing_yx: tuple[float, float]
) -> np.ndarray:
    """Return (N, 3) float64: area of the convex hull, largest and smallest Feret diameter; NaN where there is no pixel.

    - The area is the number of pixels whose centre is in the hull of the middles of all pixels' edges, or on its line,
      which is scikit-image's ``area_convex``; in whole numbers, without rounding.
    - Feret diameters are those of the hull of all pixels' corners, by rotating calipers (Shamos 1978, Toussaint 1983):
      the largest distance of two corners, and the smallest of two parallel lines with the cell between them. A pixel
      has the root of 2, and 1.

    Args:
        boxes: (N, 4) int64 xyxy, as in `RoIMasks`.
        bitmaps: as in `RoIMasks`, uint8.
        offsets: as in `RoIMasks`.
        spacing_yx: height and width of a pixel; diameters are in its unit, areas in its square.
    """
    out = np.full((len(boxes), _NUM_COLUMNS), np.nan)
    _hulls(boxes, bitmaps, offsets, spacing_yx[0], spacing_yx[1], out)
    return out


@kernel
def _hulls(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    size_y: float,
    size_x: float,
    out: np.ndarray,
) -> None:
    widest = 1
    for cell in range(boxes.shape[0]):
        widest = max(widest, boxes[cell, 2] - boxes[cell, 0])
    first, last = np.empty(widest, np.int64), np.empty(widest, np.int64)
    # Two chains, upper and lower, of points (x, y) with whole numbers.
    low, high = np.empty((2 * widest + 1, 2), np.int64), np.empty((2 * widest + 1, 2), np.int64)
    ring = np.empty((4 * widest + 2, 2), np.float64)
    for cell in range(boxes.shape[0]):
        width, height = boxes[cell, 2] - boxes[cell, 0], boxes[cell, 3] - boxes[cell, 1]
        place, is_empty = offsets[cell], True
        for x in range(width):
            first[x], last[x] = -1, -1
            for y in range(height):
                if bitmaps[place + y]:
                    if first[x] < 0:
                        first[x] = y
                    last[x] = y
            is_empty = is_empty and first[x] < 0
            place += height
        if is_empty:
            continue
        area = _pixels_in_hull(first, last, width, low, high)
        out[cell, 0] = area * size_y * size_x
        num_low = _corner_chain(first, last, width, _UP, low)
        num_high = _corner_chain(first, last, width, _DOWN, high)
        count = num_low + num_high
        for place in range(num_low):
            ring[place, 0], ring[place, 1] = low[place, 0] * size_x, low[place, 1] * size_y
        for place in range(num_high):
            behind = count - 1 - place
            ring[behind, 0], ring[behind, 1] = high[place, 0] * size_x, high[place, 1] * size_y
        out[cell, 1], out[cell, 2] = _calipers(ring, count)


@kernel
def _append(chain: np.ndarray, count: int, x: int, y: int, sign: int) -> int:
    """Append a point to a chain that turns one way, and drop the points before it that it makes needless."""
    while count > 1:
        ax, ay = chain[count - 2, 0], chain[count - 2, 1]
        bx, by = chain[count - 1, 0], chain[count - 1, 1]
        if sign * ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) > 0:
            break
        count -= 1
    chain[count, 0], chain[count, 1] = x, y
    return count + 1


@kernel
def _corner_chain(
    first: np.ndarray, last: np.ndarray, width: int, sign: int, chain: np.ndarray
) -> int:
    """Fill the chain of corners with the least y (sign 1) or the largest (-1) by x, and return its length."""
    count = np.int64(0)
    for x in range(width + 1):
        found, extreme = False, 0
        for column in range(max(x - 1, 0), min(x + 1, width)):
            if first[column] >= 0:
                y = first[column] if sign > 0 else last[column] + 1
                if not found or sign * y < sign * extreme:
                    extreme = y
                found = True
        if found:
            count = _append(chain, count, x, extreme, sign)
    return int(count)


@kernel
def _edge_chain(
    first: np.ndarray, last: np.ndarray, width: int, sign: int, chain: np.ndarray
) -> int:
    """Fill the chain of the middles of edges in half pixels: the centre of pixel (x, y) is at (2 x + 1, 2 y)."""
    count = np.int64(0)
    for at in range(2 * width + 1):
        found, extreme = False, 0
        for column in range(max((at - 1) // 2, 0), min(at // 2 + 1, width)):
            if first[column] >= 0:
                y = 2 * first[column] if sign > 0 else 2 * last[column]
                if at == 2 * column + 1:
                    y -= sign
                if not found or sign * y < sign * extreme:
                    extreme = y
                found = True
        if found:
            count = _append(chain, count, at, extreme, sign)
    return int(count)


@kernel
def _pixels_in_hull(
    first: np.ndarray, last: np.ndarray, width: int, low: np.ndarray, high: np.ndarray
) -> int:
    num_low = _edge_chain(first, last, width, _UP, low)
    _edge_chain(first, last, width, _DOWN, high)
    area, at_low, at_high = 0, 0, 0
    for column in range(width):
        x = 2 * column + 1
        if x < low[0, 0] or x > low[num_low - 1, 0]:
            continue
        while low[at_low + 1, 0] < x:
            at_low += 1
        while high[at_high + 1, 0] < x:
            at_high += 1
        # y of each chain at x as a fraction; whole numbers of 2 y between them, the ends included
        ax, ay = low[at_low, 0], low[at_low, 1]
        bx, by = low[at_low + 1, 0], low[at_low + 1, 1]
        over, under = ay * (bx - ax) + (by - ay) * (x - ax), 2 * (bx - ax)
        least = -((-over) // under)
        ax, ay = high[at_high, 0], high[at_high, 1]
        bx, by = high[at_high + 1, 0], high[at_high + 1, 1]
        over, under = ay * (bx - ax) + (by - ay) * (x - ax), 2 * (bx - ax)
        area += max(over // under - least + 1, 0)
    return area


@kernel
def _calipers(ring: np.ndarray, count: int) -> tuple[float, float]:
    """Return largest and smallest extent of a convex polygon, whose corners go round with growing angle."""
    largest, smallest = 0.0, np.inf
    far = np.int64(1)
    for place in range(count):
        ax, ay = ring[place, 0], ring[place, 1]
        following = (place + 1) % count
        bx, by = ring[following, 0], ring[following, 1]
        along_x, along_y = bx - ax, by - ay
        length = np.sqrt(along_x * along_x + along_y * along_y)
        reach = along_x * (ring[far, 1] - ay) - along_y * (ring[far, 0] - ax)
        while True:
            candidate = (far + 1) % count
            other = along_x * (ring[candidate, 1] - ay) - along_y * (ring[candidate, 0] - ax)
            if other < reach or candidate == place:
                break
            # Of an edge that is parallel to this one both ends are opposite to both ends of this one.
            largest = max(largest, _distance(ring, place, far), _distance(ring, following, far))
            far, reach = candidate, other
        largest = max(largest, _distance(ring, place, far), _distance(ring, following, far))
        smallest = min(smallest, reach / length)
    return largest, smallest


@kernel
def _distance(ring: np.ndarray, one: int, other: int) -> float:
    across, down = ring[one, 0] - ring[other, 0], ring[one, 1] - ring[other, 1]
    return np.sqrt(across * across + down * down)
