"""How far each cell is from the nearest other one, and how many are near."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.masks.ragged import offsets_from_lengths
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
        first_columns = offsets_from_lengths(boxes[:, 2] - boxes[:, 0] + 1)
        rows, begins = _border_points(boxes, masks.bitmaps, offsets, first_columns)
        sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        around = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        least = np.sqrt(np.prod((around[1] - around[0]).astype(float)) / len(boxes))
        step = int(max(np.median(sides), least / np.sqrt(_BINS_PER_CELL), 1))
        members, starts, num_columns, num_rows = _binned(boxes, around[0][0], around[0][1], step)
        found = _search(
            boxes,
            masks.bitmaps,
            offsets,
            first_columns,
            rows,
            begins,
            (members, starts, num_columns, num_rows, int(around[0][0]), int(around[0][1]), step),
            float(within),
            size_y,
            size_x,
        )
        counts[filled], nearest[filled] = found
    return {"neighbours": counts, "nearest": nearest}


@kernel
def _border_points(
    boxes: np.ndarray, bitmaps: np.ndarray, offsets: np.ndarray, first_columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (P,) of the pixels on the border of each cell, cell by cell, column by column and sorted.

    And where each column begins: column ``x`` of cell ``i`` has ``rows[begins[k]:begins[k + 1]]`` with
    ``k = first_columns[i] + x - x1``; behind the last column of each cell stands its end.
    """
    begins = np.zeros(first_columns[boxes.shape[0]], np.int64)
    rows = np.empty(0, np.int32)
    for turn in range(2):
        count = 0
        for cell in range(boxes.shape[0]):
            x1, y1, x2, y2 = boxes[cell]
            width, height = x2 - x1, y2 - y1
            for x in range(width):
                begins[first_columns[cell] + x] = count
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
                        rows[count] = y + y1
                    count += 1
            begins[first_columns[cell] + width] = count
        if turn == 0:
            rows = np.empty(count, np.int32)
    return rows, begins


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
    first_columns: np.ndarray,
    rows: np.ndarray,
    begins: np.ndarray,
    grid: tuple[np.ndarray, np.ndarray, int, int, int, int, int],
    within: float,
    size_y: float,
    size_x: float,
) -> tuple[np.ndarray, np.ndarray]:
    members, starts, num_columns, num_rows, left, top, step = grid
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
            for column in range(max(column1 - reach, 0), min(column2 + reach, num_columns - 1) + 1):
                is_new_column = column == column1 - reach or column == column2 + reach
                for row in range(max(row1 - reach, 0), min(row2 + reach, num_rows - 1) + 1):
                    if reach and not (is_new_column or row == row1 - reach or row == row2 + reach):
                        continue
                    at = column * num_rows + row
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
                            first_columns,
                            rows,
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
                and column2 + reach >= num_columns - 1
                and row2 + reach >= num_rows - 1
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
    first_columns: np.ndarray,
    rows: np.ndarray,
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
    own, others = first_columns[one] - boxes[one, 0], first_columns[other] - boxes[other, 0]
    first, last = boxes[other, 0], boxes[other, 2] - 1
    for x in range(boxes[one, 0], boxes[one, 2]):
        if _beyond(x, first, last, size_x) > squared:
            continue
        for place in range(begins[own + x], begins[own + x + 1]):
            y = np.int64(rows[place])
            if _beyond(y, boxes[other, 1], boxes[other, 3] - 1, size_y) > squared:
                continue
            # Columns of the other cell from the nearest one on, to both sides.
            step = max(first - x, x - last, 0)
            while (step * size_x) ** 2 <= squared and (x - step >= first or x + step <= last):
                for side in range(2):
                    column = x + step if side else x - step
                    if column < first or column > last or (side and step == 0):
                        continue
                    down = _nearest_row(
                        rows, begins[others + column], begins[others + column + 1], y
                    )
                    distance = (step * size_x) ** 2 + (down * size_y) ** 2
                    if down >= 0 and distance <= squared:
                        squared, found = distance, True
                step += 1
    return np.sqrt(squared) if found else np.inf


@kernel
def _nearest_row(rows: np.ndarray, begin: int, end: int, y: int) -> int:
    """Return how far the nearest of sorted rows is; -1 where there is none."""
    if begin == end:
        return -1
    low, high = begin, end
    while low < high:  # the first row that is not above
        middle = (low + high) // 2
        if rows[middle] < y:
            low = middle + 1
        else:
            high = middle
    below = rows[low] - y if low < end else -1
    above = y - rows[low - 1] if low > begin else -1
    if below < 0 or (above >= 0 and above < below):
        return above
    return below


@kernel
def _beyond(at: int, low: int, high: int, size: float) -> float:
    """Return the square of how far a coordinate is from a range, both ends included."""
    outside = max(low - at, at - high, 0) * size
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
