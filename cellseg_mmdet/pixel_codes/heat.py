"""Unit vectors towards the middle of each cell: the gradient of a heat that spreads from there.

The idea is Cellpose's (Stringer et al., Nature Methods 2021), where heat is diffused step by step, more steps the
longer the cell. Here it is the heat of the steady state, with a source in the middle, lost at the edge, and with a
small part of it lost everywhere, which keeps the distance that matters short: it is found in sweeps from the middle
outwards and back whose number does not depend on the size of the cell.
"""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.pixel_codes.regions import connected_parts, sort_pixels

# Part of the heat that a pixel hands on: the rest is lost, and the heat falls to a third in about 3 pixels.
KEPT = 0.95
# Sweeps, outwards and back count as two, and the relative change that ends them.
MAX_SWEEPS = 24
TOLERANCE = 1e-2
# N, S, W, E, then NW, SE, NE, SW: opposite ones side by side, so that sums are the same in every turned picture.
DY = np.array([-1, 1, 0, 0, -1, 1, -1, 1])
DX = np.array([0, 0, -1, 1, -1, 1, 1, -1])
# Of a number that is written out numba compiles a kernel for it alone; not of these.
_ROWS, _COLUMNS = np.int64(0), np.int64(1)


def heat_flows(label_map: np.ndarray, middles: np.ndarray | None = None) -> np.ndarray:
    """Return the unit vectors (2, H, W) float32, y and x, of all cells; 0 in their middle and in the background.

    The middle is the pixel nearest to the median of the coordinates; two or four that are adjacent and equally near are
    the middle together. Each connected part of a cell (8 neighbours) has its own. Flips and quarter turns of the
    picture give the flipped or turned vectors bit for bit, unless a hollow cell has several middles: the first one in
    reading order is taken.

    Args:
        label_map: (H, W) int32, 0 for background.
        middles: (N, 3) int64, for part i + 1 of `connected_parts` another point than the median: a count, and the sums
            of y and of x of that many pixels, whose mean it is.

    Example:
        >>> heat_flows(np.array([[0, 3, 3, 3, 0]], dtype=np.int32))[1]
        array([[ 0.,  1.,  0., -1.,  0.]], dtype=float32)
    """
    parts, count = connected_parts(label_map)
    pixels, offsets = sort_pixels(parts, count)
    flows = np.zeros((2, *label_map.shape), dtype=np.float32)
    if middles is None:
        middles = np.zeros((count, 3), dtype=np.int64)
    _flows(parts, pixels, offsets, middles, flows)
    return flows


@kernel
def _flows(
    parts: np.ndarray,
    pixels: np.ndarray,
    offsets: np.ndarray,
    middles: np.ndarray,
    flows: np.ndarray,
) -> None:
    height, width = parts.shape
    largest = 0
    for part in range(offsets.size - 1):
        largest = max(largest, offsets[part + 1] - offsets[part])
    # Of the pixels of one part, in the order of their depth: steps from the middle.
    order, depths = np.empty(largest, np.int64), np.empty(largest, np.int32)
    around = np.empty(
        (largest, 8), np.int32
    )  # places of the neighbours; `size` where there is none
    heat, fresh = np.empty(largest + 1, np.float64), np.empty(largest, np.float64)
    layers = np.empty(largest + 1, np.int64)
    places = np.empty((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            places[y, x] = -1
    for part in range(offsets.size - 1):
        own = pixels[offsets[part] : offsets[part + 1]]
        size = own.size
        num_sources = _find_middle(own, width, middles[part], order)
        num_layers = _walk(parts, order, num_sources, places, depths, layers, around, size)
        heat[size] = 0.0
        _guess(heat, depths, around, num_sources, size)
        _spread(heat, fresh, around, layers, num_layers, num_sources)
        for place in range(num_sources, size):
            y, x = order[place] // width, order[place] % width
            north, south, west, east = _straight(around, place)
            north_west, south_east, north_east, south_west = _across(around, place)
            falling = heat[south_east] - heat[north_west]
            rising = heat[south_west] - heat[north_east]
            along_y = 4.0 * (heat[south] - heat[north]) + (falling + rising)
            along_x = 4.0 * (heat[east] - heat[west]) + (falling - rising)
            largest_part = max(abs(along_y), abs(along_x))
            if largest_part > 0.0:  # far out the squares are too small for a double
                along_y, along_x = along_y / largest_part, along_x / largest_part
            else:  # farther still, or between two ways: the shortest way
                along_y, along_x = 0.0, 0.0
                for side in range(8):
                    other = around[place, side]
                    if other < size and depths[other] < depths[place]:
                        along_y += DY[side]
                        along_x += DX[side]
            length = np.sqrt(along_y * along_y + along_x * along_x)
            if length > 0.0:
                flows[0, y, x] = along_y / length
                flows[1, y, x] = along_x / length


# Arrays that are unpacked, sliced or filled by NumPy take numba a second to compile, for which the first picture waits.
@kernel
def _straight(around: np.ndarray, place: int) -> tuple[int, int, int, int]:
    return around[place, 0], around[place, 1], around[place, 2], around[place, 3]


@kernel
def _across(around: np.ndarray, place: int) -> tuple[int, int, int, int]:
    return around[place, 4], around[place, 5], around[place, 6], around[place, 7]


@kernel
def _find_middle(own: np.ndarray, width: int, point: np.ndarray, order: np.ndarray) -> int:
    """Put the pixels nearest to the point, or else to the median, first into ``order``; return how many there are."""
    times, sum_y, sum_x = point[0], point[1], point[2]
    if times == 0:
        times, sum_y, sum_x = (
            2,
            _twice_median(own, width, _ROWS),
            _twice_median(own, width, _COLUMNS),
        )
    nearest, count = np.int64(-1), 0
    for place in range(own.size):
        off_y = times * (own[place] // width) - sum_y
        off_x = times * (own[place] % width) - sum_x
        distance = off_y * off_y + off_x * off_x
        if count == 0 or distance < nearest:
            nearest, count = distance, 0
        if distance == nearest:
            near = count == 0
            for other in range(count):
                apart_y = abs(own[place] // width - order[other] // width)
                near |= max(apart_y, abs(own[place] % width - order[other] % width)) <= 1
            if near:
                order[count] = own[place]
                count += 1
    return count


@kernel
def _twice_median(own: np.ndarray, width: int, axis: int) -> int:
    """Return the sum of the two middle rows or columns of pixels, which are one where their number is odd."""
    low, high = 1 << 62, 0
    for place in range(own.size):
        value = own[place] // width if axis == 0 else own[place] % width
        low, high = min(low, value), max(high, value)
    counts = np.zeros(high - low + 1, np.int64)
    for place in range(own.size):
        counts[(own[place] // width if axis == 0 else own[place] % width) - low] += 1
    below, upper = (own.size + 1) // 2, own.size // 2 + 1
    total, seen = 0, 0
    for step in range(counts.size):
        if seen < below <= seen + counts[step]:
            total += low + step
        if seen < upper <= seen + counts[step]:
            total += low + step
        seen += counts[step]
    return total


@kernel
def _walk(
    parts: np.ndarray,
    order: np.ndarray,
    num_sources: int,
    places: np.ndarray,
    depths: np.ndarray,
    layers: np.ndarray,
    around: np.ndarray,
    size: int,
) -> int:
    """Order the pixels of a part by depth, and note where layers begin; return how many layers there are."""
    height, width = parts.shape
    number = parts[order[0] // width, order[0] % width]
    for place in range(num_sources):
        depths[place] = 0
        places[order[place] // width, order[place] % width] = place
    found, num_layers = num_sources, 1
    layers[0] = 0
    place = 0
    while place < found:
        if depths[place] == num_layers:
            layers[num_layers] = place
            num_layers += 1
        y, x = order[place] // width, order[place] % width
        for side in range(8):
            to_y, to_x = y + DY[side], x + DX[side]
            around[place, side] = size
            if 0 <= to_y < height and 0 <= to_x < width and parts[to_y, to_x] == number:
                if places[to_y, to_x] < 0:
                    places[to_y, to_x] = found
                    order[found] = to_y * width + to_x
                    depths[found] = depths[place] + 1
                    found += 1
                around[place, side] = places[to_y, to_x]
        place += 1
    layers[num_layers] = found
    return num_layers


@kernel
def _guess(
    heat: np.ndarray, depths: np.ndarray, around: np.ndarray, num_sources: int, size: int
) -> None:
    """Start with what comes straight from the middle. It is too little: too much would be a second middle for long."""
    for place in range(num_sources):
        heat[place] = 1.0
    for place in range(num_sources, size):
        total = 0.0
        for side in range(8):
            other = around[place, side]
            if other < size and depths[other] < depths[place]:
                total += (4.0 if side < 4 else 1.0) * heat[other]
        heat[place] = total * (KEPT / 20.0)


@kernel
def _spread(
    heat: np.ndarray,
    fresh: np.ndarray,
    around: np.ndarray,
    layers: np.ndarray,
    num_layers: int,
    num_sources: int,
) -> None:
    """Sweep outwards and back until the heat no longer changes. A layer changes at once, so that no order matters."""
    for sweep in range(MAX_SWEEPS):
        change = 0.0
        for turn in range(1, num_layers):
            layer = turn if sweep % 2 == 0 else num_layers - turn
            begin, end = layers[layer], layers[layer + 1]
            for place in range(begin, end):
                north, south, west, east = _straight(around, place)
                north_west, south_east, north_east, south_west = _across(around, place)
                straight = (heat[north] + heat[south]) + (heat[west] + heat[east])
                across = (heat[north_west] + heat[south_east]) + (
                    heat[north_east] + heat[south_west]
                )
                fresh[place] = (4.0 * straight + across) * (KEPT / 20.0)
            for place in range(begin, end):
                change = max(change, abs(fresh[place] - heat[place]) / (fresh[place] + 1e-300))
                heat[place] = fresh[place]
        if change < TOLERANCE:
            break
