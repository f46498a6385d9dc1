"""The stored values of each cell, channel by channel, and of the background around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.ops.kernels import kernel

# In the order of the columns.
MEASURES = ("mean", "median", "min", "max", "std", "integrated", "background", "contrast")
# Values of a picture that are looked at together, 8 bytes each.
_VALUES_AT_ONCE = 1 << 22

# Rows y1 to y2 of a picture, (y2 - y1, W, C).
ReadRows = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Ring:
    """What counts as the background of a cell: pixels at a distance, of no cell.

    Attributes:
        gap_px: pixels this near do not count, for a cell's light spreads.
        width_px: of the ring beyond the gap.

    Raises:
        ConfigError: one is no whole number from 0 on.

    Example:
        >>> Ring(gap_px=3)
        Ring(gap_px=3, width_px=5)
    """

    gap_px: int = 2
    width_px: int = 5

    def __post_init__(self) -> None:
        for name in ("gap_px", "width_px"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"{name}={value!r}: must be whole pixels, from 0 on")


def intensities_of(
    masks: RoIMasks, read_rows: ReadRows, num_channels: int, ring: Ring | None = None
) -> np.ndarray:
    """Return (N, C, 8) float64: for each mask and channel what `MEASURES` names.

    - ``std`` is that of the values themselves (divided by their number, not one less); of two values in the middle the
      median is the mean.
    - ``background`` is the median of the pixels that belong to no cell and whose distance to the nearest pixel of this
      one is more than the gap, and no more than gap and width together. NaN where there is no such pixel.
    - ``contrast`` is (mean - background) / (mean + background) (Michelson), NaN where that is 0 / 0.

    A channel with a value that is NaN has NaN for the cells that hold it; in the background such pixels are left out.
    Cells without a pixel have NaN.

    Args:
        masks: in tight boxes; they may overlap, and each is measured on all its pixels.
        read_rows: gives rows of the picture, of any number type; it is read in bands that overlap, never as a whole.
        num_channels: C.
        ring: where the background is.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = RoIMasks.from_runs(Runs.from_label_map(np.array([[0, 0, 0, 0, 1, 1, 0, 0, 0, 0]])))
        >>> picture = np.array([[4, 4, 4, 4, 10, 14, 9, 9, 4, 4]])[..., None]
        >>> found = intensities_of(masks, lambda y1, y2: picture[y1:y2], 1)
        >>> dict(zip(MEASURES, found[0, 0].tolist()))["background"], round(float(found[0, 0, -1]), 2)
        (4.0, 0.5)
    """
    ring = ring or Ring()
    out = np.full((len(masks), num_channels, len(MEASURES)), np.nan)
    occupied = np.zeros((masks.height, masks.width), dtype=np.bool_)
    _paint(masks.boxes, masks.bitmaps, masks.offsets, occupied)
    # No pixel of the image is farther away, however far the ring shall reach.
    farthest = masks.height + masks.width
    gap, reach = min(ring.gap_px, farthest), min(ring.gap_px + ring.width_px, farthest)
    tops = masks.boxes[:, 1]
    order = np.argsort(tops, kind="stable")
    rows = max(_VALUES_AT_ONCE // max(masks.width * num_channels, 1), 1)
    done = 0
    while done < len(order):
        first_row = int(tops[order[done]])
        stop = done + int(np.searchsorted(tops[order[done:]], first_row + rows, side="left"))
        band = order[done:stop]
        done = stop
        y1 = max(first_row - reach, 0)
        y2 = min(int(masks.boxes[band, 3].max()) + reach, masks.height)
        pixels = np.ascontiguousarray(read_rows(y1, y2), dtype=np.float64)
        _intensities(
            band,
            masks.boxes,
            masks.bitmaps,
            masks.offsets,
            pixels,
            occupied,
            y1,
            gap,
            reach,
            out,
        )
    mean, background = out[..., 0], out[..., MEASURES.index("background")]
    total = mean + background
    np.divide(mean - background, total, out=out[..., -1], where=total != 0)
    return out


def covered_pixels(masks: RoIMasks) -> int:
    """Return how many pixels of the image belong to a cell; one that several share counts once.

    Example:
        >>> masks = RoIMasks(np.array([[0, 0, 2, 1], [1, 0, 3, 1]]), np.ones(4, np.uint8), 1, 9)
        >>> covered_pixels(masks)
        3
    """
    occupied = np.zeros((masks.height, masks.width), dtype=np.bool_)
    _paint(masks.boxes, masks.bitmaps, masks.offsets, occupied)
    return int(np.count_nonzero(occupied))


@kernel
def _paint(
    boxes: np.ndarray, bitmaps: np.ndarray, offsets: np.ndarray, occupied: np.ndarray
) -> None:
    for cell in range(boxes.shape[0]):
        x1, y1, x2, y2 = boxes[cell]
        place = offsets[cell]
        for x in range(x1, x2):
            for y in range(y1, y2):
                if bitmaps[place]:
                    occupied[y, x] = True
                place += 1


@kernel
def _intensities(
    band: np.ndarray,
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    pixels: np.ndarray,
    occupied: np.ndarray,
    first_row: int,
    gap: int,
    reach: int,
    out: np.ndarray,
) -> None:
    largest = 1
    for cell in band:
        x1, y1, x2, y2 = boxes[cell]
        largest = max(
            largest,
            min(x2 - x1 + 2 * reach, occupied.shape[1])
            * min(y2 - y1 + 2 * reach, occupied.shape[0]),
        )
    values, near = np.empty(largest, np.float64), np.empty((largest, 2), np.int64)
    # Small whole numbers; in float32 twice as many are worked on at once as in the int64 that sums of int32 are.
    squares, least = np.empty(largest, np.float32), np.empty(occupied.shape[0], np.float32)
    for cell in band:
        if offsets[cell] == offsets[cell + 1]:
            continue
        num_near = _ring(
            boxes[cell], bitmaps, offsets[cell], occupied, gap, reach, squares, least, near
        )
        x1, y1, x2, y2 = boxes[cell]
        for channel in range(pixels.shape[2]):
            count, total = 0, 0.0
            place = offsets[cell]
            for x in range(x1, x2):
                for y in range(y1 - first_row, y2 - first_row):
                    if bitmaps[place]:
                        values[count] = pixels[y, x, channel]
                        total += values[count]
                        count += 1
                    place += 1
            if count and not np.isnan(total):
                mean = total / count
                spread = 0.0
                for number in range(count):
                    spread += (values[number] - mean) ** 2
                out[cell, channel, 0] = mean
                out[cell, channel, 2] = values[:count].min()
                out[cell, channel, 3] = values[:count].max()
                out[cell, channel, 4] = np.sqrt(spread / count)
                out[cell, channel, 5] = total
                out[cell, channel, 1] = _median(values[:count])
            count = 0
            for number in range(num_near):
                value = pixels[near[number, 0] - first_row, near[number, 1], channel]
                if not np.isnan(value):
                    values[count] = value
                    count += 1
            if count:
                out[cell, channel, 6] = _median(values[:count])


@kernel
def _median(values: np.ndarray) -> float:
    """Return the median of values without NaN, which change their order: Hoare's selection, FIND, CACM 1961."""
    middle = values.size // 2
    low, high = 0, values.size - 1
    while low < high:
        # The median of three, so that values in order are no bad case.
        center = (low + high) // 2
        first, last = values[low], values[high]
        pivot = max(min(first, last), min(max(first, last), values[center]))
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            break
    if values.size % 2:
        return values[middle]
    return 0.5 * (values[:middle].max() + values[middle])


@kernel
def _ring(
    box: np.ndarray,
    bitmaps: np.ndarray,
    offset: int,
    occupied: np.ndarray,
    gap: int,
    reach: int,
    squares: np.ndarray,
    least: np.ndarray,
    near: np.ndarray,
) -> int:
    """Fill ``near`` with row and column of the pixels of the ring around a cell, and return how many there are."""
    x1, y1, x2, y2 = box
    height, width = occupied.shape
    top, bottom = max(y1 - reach, 0), min(y2 + reach, height)
    rows = bottom - top
    far = reach + 1
    # Square of how far above or below each pixel its column of the mask is.
    for column in range(x2 - x1):
        place, base = offset + column * (y2 - y1), column * rows
        since = far
        for row in range(rows):
            y = top + row
            if y1 <= y < y2 and bitmaps[place + y - y1]:
                since = 0
            elif since < far:
                since += 1
            squares[base + row] = since
        since = far
        for row in range(rows - 1, -1, -1):
            since = 0 if squares[base + row] == 0 else min(since + 1, far)
            squares[base + row] = min(squares[base + row], since) ** 2
    count = 0
    for x in range(max(x1 - reach, 0), min(x2 + reach, width)):
        # Column by column, so that the compiler works on several rows at once.
        least[:rows] = far * far
        for other in range(max(x - reach, x1), min(x + reach + 1, x2)):
            across = np.float32((other - x) * (other - x))
            down = squares[(other - x1) * rows : (other - x1 + 1) * rows]
            for row in range(rows):
                distance = down[row] + across
                least[row] = distance if distance < least[row] else least[row]
        for row in range(rows):
            if gap * gap < least[row] <= reach * reach and not occupied[top + row, x]:
                near[count, 0], near[count, 1] = top + row, x
                count += 1
    return count
