"""Length of each mask's outline, how many pieces it is in, and how many holes it has."""

from __future__ import annotations

import math

import numpy as np

from cellseg_mmdet.ops.kernels import kernel

PERIMETER, CROFTON, PIECES, HOLES = range(4)
_NUM_COLUMNS = 4

# Sum over a border pixel's neighbours on the border, 1 + 2 for each beside, above or below, 10 for each across -> what
# kind of steps meet there; Benkrid and Crookes, Design and FPGA implementation of a perimeter estimator, 2000.
_STRAIGHT, _ACROSS, _MIXED = 1, 2, 3
_KINDS = np.zeros(50, dtype=np.int64)
_KINDS[[5, 7, 15, 17, 25, 27]] = _STRAIGHT
_KINDS[[21, 33]] = _ACROSS
_KINDS[[13, 23]] = _MIXED


def outlines_of(
    boxes: np.ndarray, bitmaps: np.ndarray, offsets: np.ndarray, spacing_yx: tuple[float, float]
) -> np.ndarray:
    """Return (N, 4) float64: perimeter along the border pixels, perimeter after Crofton, pieces, holes.

    - The perimeter goes through the centres of the pixels that have a 4-neighbour outside, holes included: steps beside
      each other count 1, across the root of 2, as in scikit-image's ``perimeter``. In pixels that are no squares a step
      is as long as it is; where it is one of several straight ones, as long as they are on average.
    - Crofton's counts how often lines in four directions enter the mask, as scikit-image's ``perimeter_crofton``; in
      pixels that are no squares each direction has its share of all angles (Lehmann and Legland, Efficient
      N-dimensional surface estimation using Crofton formula and run-length encoding, Insight Journal 2012).
    - Pieces are connected by edges or corners, and holes are background that no way through edges joins to the outside.

    Args:
        boxes: (N, 4) int64 xyxy, as in `RoIMasks`.
        bitmaps: as in `RoIMasks`, uint8.
        offsets: as in `RoIMasks`.
        spacing_yx: height and width of a pixel; perimeters are in its unit.
    """
    height, width = spacing_yx
    diagonal = math.hypot(height, width)
    # Share of all angles that is nearest to horizontal, vertical and each diagonal line, times the lines' distance.
    angle = math.atan2(height, width)
    weights = np.array(
        [angle * height, (math.pi / 2 - angle) * width, math.pi / 4 * height * width / diagonal]
    )
    out = np.zeros((len(boxes), _NUM_COLUMNS))
    _outlines(boxes, bitmaps, offsets, _KINDS, weights, height, width, diagonal, out)
    return out


@kernel
def _outlines(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    kinds: np.ndarray,
    weights: np.ndarray,
    size_y: float,
    size_x: float,
    diagonal: float,
    out: np.ndarray,
) -> None:
    largest = 1
    for cell in range(boxes.shape[0]):
        x1, y1, x2, y2 = boxes[cell]
        largest = max(largest, (x2 - x1 + 2) * (y2 - y1 + 2))
    # Of small numbers, but not of uint8: sums of those become unsigned, and then floats.
    inside = np.zeros(largest, np.int32)
    border = np.zeros(largest, np.int32)
    waiting = np.empty(largest, np.int64)
    for cell in range(boxes.shape[0]):
        x1, y1, x2, y2 = boxes[cell]
        if offsets[cell] == offsets[cell + 1]:
            continue
        # The bitmap with a rim of background, column by column: (x, y) is at x * stride + y.
        stride = y2 - y1 + 2
        size = (x2 - x1 + 2) * stride
        inside[:size] = 0
        border[:size] = 0
        source = offsets[cell]
        for x in range(1, x2 - x1 + 1):
            for y in range(1, stride - 1):
                inside[x * stride + y] = bitmaps[source]
                source += 1
        _mark_border(inside, border, size, stride)
        out[cell, 0] = _border_length(border, size, stride, kinds, size_y, size_x, diagonal)
        along_x, along_y, across, quads = _windows(inside, size, stride)
        out[cell, 1] = weights[0] * along_x + weights[1] * along_y + weights[2] * across
        pieces = _count_pieces(inside, border, waiting, size, stride)
        out[cell, 2] = pieces
        out[cell, 3] = pieces - quads // 4


@kernel
def _mark_border(inside: np.ndarray, border: np.ndarray, size: int, stride: int) -> None:
    """Mark the pixels that have one beside, above or below them that is not inside."""
    for place in range(stride, size - stride):
        if inside[place] and not (
            inside[place - 1]
            and inside[place + 1]
            and inside[place - stride]
            and inside[place + stride]
        ):
            border[place] = 1


@kernel
def _border_length(
    border: np.ndarray,
    size: int,
    stride: int,
    kinds: np.ndarray,
    size_y: float,
    size_x: float,
    diagonal: float,
) -> float:
    straight, across, mixed = 0.0, 0.0, 0.0
    for place in range(stride, size - stride):
        if not border[place]:
            continue
        above = border[place - 1] + border[place + 1]
        beside = border[place - stride] + border[place + stride]
        corners = (
            border[place - stride - 1]
            + border[place - stride + 1]
            + border[place + stride - 1]
            + border[place + stride + 1]
        )
        kind = kinds[1 + 2 * (above + beside) + 10 * corners]
        if kind == 2:
            across += 1.0
        elif kind > 0:
            step = (above * size_y + beside * size_x) / (above + beside)
            if kind == 1:
                straight += step
            else:
                mixed += 0.5 * (step + diagonal)
    return straight + across * diagonal + mixed


@kernel
def _windows(inside: np.ndarray, size: int, stride: int) -> tuple[int, int, int, int]:
    """Return how often lines along x, along y and along both diagonals enter, and four times the Euler number.

    The Euler number of pixels that are joined by corners: Gray, Local properties of binary images in two dimensions,
    IEEE Transactions on Computers 1971.
    """
    along_x, along_y, across, quads = 0, 0, 0, 0
    for place in range(stride + 1, size):
        here, above = inside[place], inside[place - 1]
        left, corner = inside[place - stride], inside[place - stride - 1]
        count = here + above + left + corner
        if count == 0 or count == 4:
            continue
        along_x += here > left
        along_y += here > above
        across += (here > corner) + (left > above)
        if count == 1:
            quads += 1
        elif count == 3:
            quads -= 1
        elif here == corner:
            quads -= 2
    return along_x, along_y, across, quads


@kernel
def _count_pieces(
    inside: np.ndarray, border: np.ndarray, waiting: np.ndarray, size: int, stride: int
) -> int:
    """Count the parts of a mask; a part has a border, which holds together where the part does."""
    pieces = 0
    for first in range(stride, size - stride):
        if border[first] != 1:
            continue
        pieces += 1
        border[first] = 2
        waiting[0], count = first, 1
        inside[first] = 2
        while count:
            count -= 1
            place = waiting[count]
            for column in range(-stride, stride + 1, stride):
                for row in range(-1, 2):
                    other = place + column + row
                    if inside[other] == 1:
                        inside[other] = 2
                        border[other] = 2
                        waiting[count] = other
                        count += 1
    return pieces
