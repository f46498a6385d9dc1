"""How `RoIMasks` are resampled: every output pixel is looked up in its instance's own bitmap.

The arithmetic is that of OpenCV, pixel for pixel, which is what mmdet's masks go through: nearest neighbours of
``cv2.resize``, fixed-point coordinates of ``cv2.warpAffine``. Bitmaps are stored column by column (see `RoIMasks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from cellseg_mmdet.masks.ragged import offsets_from_lengths, ragged_arange

Interpolation = Literal["nearest", "bilinear"]

# Pixels looked up at once: their index arrays then stay in the cache.
_PIXELS_AT_ONCE = 1 << 17

# cv2.warpAffine: 10 fractional bits for the sum of products, 5 for the weights of bilinear interpolation.
_COORDINATE_BITS, _WEIGHT_BITS = 10, 5


def box_sizes(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return widths and heights (N,) of boxes (N, 4) xyxy."""
    return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]


def bitmap_offsets(boxes: np.ndarray) -> np.ndarray:
    """Return offsets (N + 1,) of the bitmaps of boxes (N, 4) in their flat buffer."""
    width, height = box_sizes(boxes)
    return offsets_from_lengths(width * height)


def normalised(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes with all zeros in place of each that has no area."""
    return np.where(((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[:, None], boxes, 0)


def nearest_source(length: int, new_length: int) -> np.ndarray:
    """Return the source index (new_length,) of each pixel of a resized axis, as ``cv2.resize`` with INTER_NEAREST."""
    inverse_scale = 1.0 / (new_length / length)
    return np.floor(np.arange(new_length) * inverse_scale).astype(np.int64).clip(max=length - 1)


def gather_axes(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    new_boxes: np.ndarray,
    source_x: np.ndarray,
    source_y: np.ndarray,
) -> np.ndarray:
    """Look up new bitmaps where column x comes from column ``source_x[x]`` and row y from row ``source_y[y]``.

    Args:
        boxes: (N, 4) boxes of ``bitmaps``.
        bitmaps: flat buffer.
        new_boxes: (N, 4) boxes of the result; all they look up lies in ``boxes``.
        source_x: (new width,) int64.
        source_y: (new height,) int64.
    """
    offsets, new_offsets = bitmap_offsets(boxes), bitmap_offsets(new_boxes)
    stride = boxes[:, 3] - boxes[:, 1]
    # Index of the pixel (x=0, y=0) of the image, were it in the bitmap.
    origin = offsets[:-1] - boxes[:, 0] * stride - boxes[:, 1]
    new_width, new_height = box_sizes(new_boxes)
    out = np.empty(new_offsets[-1], dtype=bitmaps.dtype)
    for part in _parts(new_offsets):
        column_x = source_x[ragged_arange(new_boxes[part, 0], new_width[part])]
        column_origin, column_stride, first_row, num_rows = (
            np.repeat(values[part], new_width[part])
            for values in (origin, stride, new_boxes[:, 1], new_height)
        )
        index = np.repeat(column_origin + column_x * column_stride, num_rows)
        index += source_y[ragged_arange(first_row, num_rows)]
        out[new_offsets[part.start] : new_offsets[part.stop]] = bitmaps[index]
    return out


def gather_transposed(boxes: np.ndarray, bitmaps: np.ndarray) -> np.ndarray:
    """Look up the bitmaps with rows and columns exchanged."""
    offsets = bitmap_offsets(boxes)
    width, height = box_sizes(boxes)
    out = np.empty_like(bitmaps)
    for part in _parts(offsets):
        num_columns, stride = (np.repeat(side[part], height[part]) for side in (width, height))
        begin = ragged_arange(offsets[:-1][part], height[part])
        index = np.repeat(begin, num_columns)
        index += ragged_arange(np.zeros_like(num_columns), num_columns) * np.repeat(
            stride, num_columns
        )
        out[offsets[part.start] : offsets[part.stop]] = bitmaps[index]
    return out


def gather_map(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    new_boxes: np.ndarray,
    source_x: np.ndarray,
    source_y: np.ndarray,
) -> np.ndarray:
    """Look up new bitmaps through maps of source columns and rows, each (new height, new width) int; 0 outside."""
    look_up = _Lookup(boxes, bitmaps)
    new_offsets = bitmap_offsets(new_boxes)
    out = np.empty(new_offsets[-1], dtype=bitmaps.dtype)
    for part in _parts(new_offsets):
        owner, x, y = _pixels_of(new_boxes, part)
        out[new_offsets[part.start] : new_offsets[part.stop]] = look_up(
            owner, source_x[y, x], source_y[y, x]
        )
    return out


def pixel_positions(boxes: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (slice of the flat buffer, x, y) for all pixels of all bitmaps, some instances at a time."""
    offsets = bitmap_offsets(boxes)
    for part in _parts(offsets):
        _, x, y = _pixels_of(boxes, part)
        yield slice(offsets[part.start], offsets[part.stop]), x, y


def affine_boxes(boxes: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return boxes (N, 4) inside height x width that hold everything that ``matrix`` (2, 3) makes of ``boxes``."""
    # A bilinear weight reaches one pixel beyond the box, the rounding of the fixed-point coordinates another one.
    x1, y1, x2, y2 = (boxes + np.array([-2, -2, 2, 2])).T
    corners = np.stack([[x1, y1], [x2, y1], [x1, y2], [x2, y2]]).astype(np.float64)  # (4, 2, N)
    moved = np.einsum("ij,cjn->cin", matrix[:, :2], corners) + matrix[:, 2:]
    low, high = np.floor(moved.min(axis=0)).T - 1, np.ceil(moved.max(axis=0)).T + 1
    found = np.concatenate([low, high], axis=1).clip(0, [width, height, width, height])
    is_empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    return normalised(np.where(is_empty[:, None], 0, found).astype(np.int64))


def gather_affine(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    new_boxes: np.ndarray,
    matrix: np.ndarray,
    interpolation: Interpolation,
) -> np.ndarray:
    """Look up new bitmaps of 0 and 1 as ``cv2.warpAffine`` gives them, ``matrix`` (2, 3) from source to result."""
    look_up = _Lookup(boxes, bitmaps)
    new_offsets = bitmap_offsets(new_boxes)
    out = np.empty(new_offsets[-1], dtype=bitmaps.dtype)
    right, bottom = new_boxes[:, 2:].max(axis=0, initial=0)
    fixed_x, fixed_y = _fixed_point_axes(matrix, right, bottom, interpolation)
    for part in _parts(new_offsets):
        owner, x, y = _pixels_of(new_boxes, part)
        at_x, at_y = (along_x[x] + along_y[y] for along_x, along_y in (fixed_x, fixed_y))
        if interpolation == "nearest":
            found = look_up(owner, at_x >> _COORDINATE_BITS, at_y >> _COORDINATE_BITS)
        else:
            found = _bilinear(look_up, owner, at_x, at_y)
        out[new_offsets[part.start] : new_offsets[part.stop]] = found
    return out


def _fixed_point_axes(
    matrix: np.ndarray, width: int, height: int, interpolation: Interpolation
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return for source x and for source y what a result's column and what its row add, in fixed point."""
    a, b, c, d, e, f = (float(value) for value in matrix.ravel())
    determinant = a * e - b * d
    scale = 1.0 / determinant if determinant else 0.0
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    c, f = -a * c - b * f, -d * c - e * f
    bits = 0 if interpolation == "nearest" else _WEIGHT_BITS
    half = 1 << (_COORDINATE_BITS - bits - 1)
    one = 1 << _COORDINATE_BITS
    x, y = np.arange(width), np.arange(height)

    def fixed(values: np.ndarray) -> np.ndarray:
        return np.rint(values * one).astype(np.int64)

    return (fixed(a * x), fixed(b * y + c) + half), (fixed(d * x), fixed(e * y + f) + half)


def _bilinear(
    look_up: _Lookup, owner: np.ndarray, at_x: np.ndarray, at_y: np.ndarray
) -> np.ndarray:
    unit = 1 << _WEIGHT_BITS
    at_x, at_y = (
        at_x >> (_COORDINATE_BITS - _WEIGHT_BITS),
        at_y >> (_COORDINATE_BITS - _WEIGHT_BITS),
    )
    x, y = at_x >> _WEIGHT_BITS, at_y >> _WEIGHT_BITS
    weight_x, weight_y = at_x & (unit - 1), at_y & (unit - 1)
    upper = (unit - weight_x) * look_up(owner, x, y) + weight_x * look_up(owner, x + 1, y)
    lower = (unit - weight_x) * look_up(owner, x, y + 1) + weight_x * look_up(owner, x + 1, y + 1)
    return (unit - weight_y) * upper + weight_y * lower >= unit * unit // 2


class _Lookup:
    """Values of single pixels of an instance's bitmap, 0 outside its box."""

    def __init__(self, boxes: np.ndarray, bitmaps: np.ndarray) -> None:
        self._left, self._top = boxes[:, 0], boxes[:, 1]
        self._width, self._height = box_sizes(boxes)
        self._begin = bitmap_offsets(boxes)[:-1]
        self._bitmaps = bitmaps

    def __call__(self, owner: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x - self._left[owner], y - self._top[owner]
        height = self._height[owner]
        inside = (x >= 0) & (x < self._width[owner]) & (y >= 0) & (y < height)
        out = np.zeros(len(owner), dtype=self._bitmaps.dtype)
        index = self._begin[owner] + x * height + y
        out[inside] = self._bitmaps[index[inside]]
        return out


def _pixels_of(boxes: np.ndarray, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (owner, x, y) of all pixels of the boxes ``part``, each (P,), column by column."""
    width, height = box_sizes(boxes[part])
    column_owner = np.repeat(np.arange(part.start, part.stop), width)
    num_rows = np.repeat(height, width)
    owner = np.repeat(column_owner, num_rows)
    x = np.repeat(ragged_arange(boxes[part, 0], width), num_rows)
    y = ragged_arange(boxes[column_owner, 1], num_rows)
    return owner, x, y


def _parts(offsets: np.ndarray) -> Iterator[slice]:
    """Cut the instances into slices of about `_PIXELS_AT_ONCE` pixels, of one instance at least."""
    begin = 0
    while begin < len(offsets) - 1:
        reach = np.searchsorted(offsets, offsets[begin] + _PIXELS_AT_ONCE, side="right") - 1
        end = max(int(reach), begin + 1)
        yield slice(begin, end)
        begin = end
