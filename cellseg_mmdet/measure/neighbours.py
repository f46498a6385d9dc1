"""How far each cell is from the nearest other one, and how many are near."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.ops.kernels import kernel

# Bins of the grid that cells are looked up in are as wide as cells are, but not so small that there are more bins
# than this for each cell.
_BINS_PER_CELL = 4


def neighbours_of(
    masks: RoIMasks, within: float = 5.0, spacing_yx: tuple[float, float] = (1.0, 1.0)
) -> dict[str, np.ndarray]:
    """Return for N masks the number of others that are near, and the distance to the nearest.

    The distance of two cells is the least one between the centre of a pixel of the one and of the other: 0 where they
    overlap, a pixel where they share an edge, the root of 2 where they share a corner. It is exact.

    Args:
        masks: in tight boxes; they may overlap. Masks without a pixel have no neighbours and are none.
        within: largest distance of a neighbour.
        spacing_yx: height and width of a pixel; distances are in its unit.

    Returns:
        ``neighbours`` (N,) int64, and ``nearest`` (N,) float64, NaN where there is no other cell.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> row = Runs.from_label_map(np.array([[1, 1, 0, 2, 0, 0, 0, 0, 0, 3]]))
        >>> neighbours_of(RoIMasks.from_runs(row), within=5.0)
        {'neighbours': array([1, 1, 0]), 'nearest': array([2., 2., 6.])}
    """
    counts = np.zeros(len(masks), dtype=np.int64)
    nearest = np.full(len(masks), np.nan)
    filled = np.flatnonzero((masks.boxes[:, 2] > masks.boxes[:, 0]) & (masks.areas > 0))
    if len(filled) > 1:
        boxes, offsets = masks.boxes[filled], masks.offsets[filled]
        size_y, size_x = float(spacing_yx[0]), float(spacing_yx[1])
        points, begins = _border_points(boxes, masks.bitmaps, offsets)
        sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        around = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        least = np.sqrt(np.prod((around[1] - around[0]).astype(float)) / len(boxes))
        step = int(max(np.median(sides), least / np.sqrt(_BINS_PER_CELL), 1))
        members, starts, columns, rows = _binned(boxes, around[0][0], around[0][1], step)
        found = _search(
            boxes,
            masks.bitmaps,
            offsets,
            points,
            begins,
            (members, starts, columns, rows, int(around[0][0]), int(around[0][1]), step),
            float(within),
            size_y,
            size_x,
        )
        counts[filled], nearest[filled] = found
    return {"neighbours": counts, "nearest": nearest}


@kernel
def _border_points(
    boxes: np.ndarray, bitmaps: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (P, 2) of the pixels on the border of each cell, cell by cell and by x, and (N + 1,) begins."""
    begins = np.zeros(boxes.shape[0] + 1, np.int64)
    points = np.empty((0, 2), np.int64)
    for turn in range(2):
        count = 0
        for cell in range(boxes.shape[0]):
            x1, y1, x2, y2 = boxes[cell]
            width, height = x2 - x1, y2 - y1
            begins[cell] = count
            for x in range(width):
                for y in range(height):
                    place = offsets[cell] + x * height + y
                    if not bitmaps[place]:
                        continue
                    if (
                        0 < x < width - 1
                        and 0 < y < height - 1
                        and bitmaps[place - 1]
                        and bitmaps[place + 1]
                        and bitmaps[place - height]
                        and bitmaps[place + height]
                    ):
                        continue
                    if turn:
                        points[count, 0], points[count, 1] = x + x1, y + y1
                    count += 1
        begins[boxes.shape[0]] = count
        if turn == 0:
            points = np.empty((count, 2), np.int64)
    return points, begins


@kernel
def _binned(
    boxes: np.ndarray, left: int, top: int, step: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Return the cells in each bin of a grid, the begins of the bins, and how many columns and rows it has."""
    columns, rows = 1, 1
    for cell in range(boxes.shape[0]):
        columns = max(columns, (boxes[cell, 2] - 1 - left) // step + 1)
        rows = max(rows, (boxes[cell, 3] - 1 - top) // step + 1)
    starts = np.zeros(columns * rows + 1, np.int64)
    members = np.empty(0, np.int64)
    ends = starts
    for turn in range(2):
        for cell in range(boxes.shape[0]):
            for column in range(
                (boxes[cell, 0] - left) // step, (boxes[cell, 2] - 1 - left) // step + 1
            ):
                for row in range(
                    (boxes[cell, 1] - top) // step, (boxes[cell, 3] - 1 - top) // step + 1
                ):
                    at = column * rows + row
                    if turn:
                        members[ends[at]] = cell
                        ends[at] += 1
                    else:
                        starts[at + 1] += 1
        if turn == 0:
            for at in range(columns * rows):
                starts[at + 1] += starts[at]
            members = np.empty(starts[columns * rows], np.int64)
            ends = starts.copy()
    return members, starts, columns, rows


@kernel
def _search(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    points: np.ndarray,
    begins: np.ndarray,
    grid: tuple[np.ndarray, np.ndarray, int, int, int, int, int],
    within: float,
    size_y: float,
    size_x: float,
) -> tuple[np.ndarray, np.ndarray]:
    members, starts, columns, rows, left, top, step = grid
    num_cells = boxes.shape[0]
    counts = np.zeros(num_cells, np.int64)
    nearest = np.full(num_cells, np.nan)
    seen = np.full(num_cells, -1, np.int64)
    for cell in range(num_cells):
        seen[cell] = cell
        best = np.inf
        column1, column2 = (boxes[cell, 0] - left) // step, (boxes[cell, 2] - 1 - left) // step
        row1, row2 = (boxes[cell, 1] - top) // step, (boxes[cell, 3] - 1 - top) // step
        reach = 0
        while True:
            for column in range(max(column1 - reach, 0), min(column2 + reach, columns - 1) + 1):
                is_new_column = column == column1 - reach or column == column2 + reach
                for row in range(max(row1 - reach, 0), min(row2 + reach, rows - 1) + 1):
                    if reach and not (is_new_column or row == row1 - reach or row == row2 + reach):
                        continue
                    at = column * rows + row
                    for place in range(starts[at], starts[at + 1]):
                        other = members[place]
                        if seen[other] == cell:
                            continue
                        seen[other] = cell
                        limit = max(best, within)
                        distance = _distance(
                            boxes,
                            bitmaps,
                            offsets,
                            points,
                            begins,
                            cell,
                            other,
                            limit,
                            size_y,
                            size_x,
                        )
                        best = min(best, distance)
                        counts[cell] += distance <= within
            # What no bin so far holds is farther away than the bins that lie around the cell are wide.
            sure = reach * step * min(size_y, size_x)
            is_all = (
                column1 - reach <= 0
                and row1 - reach <= 0
                and column2 + reach >= columns - 1
                and row2 + reach >= rows - 1
            )
            if is_all or (best <= sure and within <= sure):
                break
            reach += 1
        nearest[cell] = best
    return counts, nearest


@kernel
def _distance(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    points: np.ndarray,
    begins: np.ndarray,
    one: int,
    other: int,
    limit: float,
    size_y: float,
    size_x: float,
) -> float:
    """Return the distance of two cells; infinity where it is more than the limit."""
    gap_x = max(boxes[one, 0] - boxes[other, 2] + 1, boxes[other, 0] - boxes[one, 2] + 1, 0)
    gap_y = max(boxes[one, 1] - boxes[other, 3] + 1, boxes[other, 1] - boxes[one, 3] + 1, 0)
    if (gap_x * size_x) ** 2 + (gap_y * size_y) ** 2 > limit * limit:
        return np.inf
    if gap_x == 0 and gap_y == 0 and _overlap(boxes, bitmaps, offsets, one, other):
        return 0.0
    # The nearest pixels of masks without a common one lie on their borders.
    squared = limit * limit
    found = False
    begin, end = begins[other], begins[other + 1]
    for place in range(begins[one], begins[one + 1]):
        x, y = points[place, 0], points[place, 1]
        if _beyond(x, boxes[other, 0], boxes[other, 2], size_x) > squared:
            continue
        if _beyond(y, boxes[other, 1], boxes[other, 3], size_y) > squared:
            continue
        low, high = begin, end
        while low < high:  # the first point of the other with no smaller x
            middle = (low + high) // 2
            if points[middle, 0] < x:
                low = middle + 1
            else:
                high = middle
        for direction in range(2):
            at = low if direction else low - 1
            while begin <= at < end:
                across = (points[at, 0] - x) * size_x
                across *= across
                if across > squared:
                    break
                down = (points[at, 1] - y) * size_y
                if across + down * down <= squared:
                    squared, found = across + down * down, True
                at += 1 if direction else -1
    return np.sqrt(squared) if found else np.inf


@kernel
def _beyond(at: int, low: int, high: int, size: float) -> float:
    """Return the square of how far a coordinate is from those of a box."""
    outside = max(low - at, at - high + 1, 0) * size
    return outside * outside


@kernel
def _overlap(
    boxes: np.ndarray, bitmaps: np.ndarray, offsets: np.ndarray, one: int, other: int
) -> bool:
    top, bottom = max(boxes[one, 1], boxes[other, 1]), min(boxes[one, 3], boxes[other, 3])
    height, height_of_other = boxes[one, 3] - boxes[one, 1], boxes[other, 3] - boxes[other, 1]
    for x in range(max(boxes[one, 0], boxes[other, 0]), min(boxes[one, 2], boxes[other, 2])):
        place = offsets[one] + (x - boxes[one, 0]) * height - boxes[one, 1]
        place_of_other = offsets[other] + (x - boxes[other, 0]) * height_of_other - boxes[other, 1]
        for y in range(top, bottom):
            if bitmaps[place + y] and bitmaps[place_of_other + y]:
                return True
    return False
