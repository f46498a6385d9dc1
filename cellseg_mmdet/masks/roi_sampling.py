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
_PIXELS_AT_ONCE = 1 << 16

# cv2.warpAffine: 10 fractional bits for the sum of products, 5 for the weights of bilinear interpolation.
_COORDINATE_BITS, _WEIGHT_BITS = 10, 5


def box_sizes(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return widths and heights (N,) of boxes (N, 4) xyxy."""
    return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]


def bitmap_offsets(boxes: np.ndarray) -> np.ndarray:
    """Return offsets (N + 1,) of the bitmaps of boxes (N, 4) in their flat buffer."""
    width, height = box_sizes(boxes)
    return offsets_from_lengths(width * height)


def addresses(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) each: pixel (x, y) of the image is at ``origin + x * stride + y`` of the flat buffer."""
    stride = boxes[:, 3] - boxes[:, 1]
    return bitmap_offsets(boxes)[:-1] - boxes[:, 0] * stride - boxes[:, 1], stride


def columns_of(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return box and x (C,) of all columns of boxes (N, 4), in the order of their bitmaps."""
    width = boxes[:, 2] - boxes[:, 0]
    return np.repeat(np.arange(len(boxes)), width), ragged_arange(boxes[:, 0], width)


def normalised(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes with all zeros in place of each that has no area."""
    return np.where(((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[:, None], boxes, 0)


def nearest_source(length: int, new_length: int) -> np.ndarray:
    """Return the source index (new_length,) of each pixel of a resized axis, as ``cv2.resize`` with INTER_NEAREST.

    Example:
        >>> nearest_source(4, 8), nearest_source(4, 2)
        (array([0, 0, 1, 1, 2, 2, 3, 3]), array([0, 2]))
    """
    inverse_scale = 1.0 / (new_length / length)
    return np.floor(np.arange(new_length) * inverse_scale).astype(np.int64).clip(max=length - 1)


def linear_source(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both old pixels that each new one lies between, and the share of the second, for bilinear resizing."""
    at = ((np.arange(new_length) + 0.5) * (length / new_length) - 0.5).clip(0, length - 1)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, length - 1), at - low


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
    origin, stride = addresses(boxes)
    _, num_rows = box_sizes(new_boxes)
    out = np.empty(bitmap_offsets(new_boxes)[-1], dtype=bitmaps.dtype)
    for part, owner, x in _column_parts(new_boxes):
        count = num_rows[owner]
        index = np.repeat(origin[owner] + source_x[x] * stride[owner], count)
        index += source_y[ragged_arange(new_boxes[owner, 1], count)]
        out[part] = bitmaps[index]
    return out


def gather_transposed(boxes: np.ndarray, bitmaps: np.ndarray) -> np.ndarray:
    """Look up the bitmaps with rows and columns exchanged."""
    origin, stride = addresses(boxes)
    num_columns, _ = box_sizes(boxes)
    out = np.empty_like(bitmaps)
    for part, owner, y in _column_parts(boxes[:, [1, 0, 3, 2]]):
        count = num_columns[owner]
        index = ragged_arange(boxes[owner, 0], count) * np.repeat(stride[owner], count)
        index += np.repeat(origin[owner] + y, count)
        out[part] = bitmaps[index]
    return out


def gather_map(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    new_boxes: np.ndarray,
    source_x: np.ndarray,
    source_y: np.ndarray,
) -> np.ndarray:
    """Look up new bitmaps through maps of source columns and rows, each (new height, new width) int; 0 outside."""
    # What is looked up outside the box is looked up in its border, which is 0.
    boxes, bitmaps = _with_border(boxes, bitmaps)
    origin, stride = addresses(boxes)
    left, top, right, bottom = (boxes - [0, 0, 1, 1]).T
    _, num_rows = box_sizes(new_boxes)
    map_width = source_x.shape[1]
    source_x, source_y = source_x.ravel(), source_y.ravel()
    out = np.empty(bitmap_offsets(new_boxes)[-1], dtype=bitmaps.dtype)
    for part, owner, x in _column_parts(new_boxes):
        count = num_rows[owner]
        x0, y0, x1, y1, first, step = (
            np.repeat(of_box[owner], count) for of_box in (left, top, right, bottom, origin, stride)
        )
        at = ragged_arange(new_boxes[owner, 1], count) * map_width + np.repeat(x, count)
        index = first + np.clip(source_x[at], x0, x1) * step + np.clip(source_y[at], y0, y1)
        out[part] = bitmaps[index]
    return out


def affine_boxes(boxes: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return boxes (N, 4) inside height x width that hold everything that ``matrix`` (2, 3) makes of ``boxes``."""
    # A bilinear weight reaches one pixel beyond the box, the rounding of the fixed-point coordinates another one.
    x1, y1, x2, y2 = (boxes + np.array([-2, -2, 2, 2])).T
    corners = np.stack([[x1, y1], [x2, y1], [x1, y2], [x2, y2]]).astype(np.float64)  # (4, 2, N)
    moved = np.einsum("ij,cjn->cin", matrix[:, :2], corners) + matrix[:, 2:]
    low, high = np.floor(moved.min(axis=0)).T - 1, np.ceil(moved.max(axis=0)).T + 1
    found = np.concatenate([low, high], axis=1).clip(0, [width, height, width, height])
    return normalised(found.astype(np.int64))


def gather_affine(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    new_boxes: np.ndarray,
    matrix: np.ndarray,
    interpolation: Interpolation,
) -> np.ndarray:
    """Look up new bitmaps of 0 and 1 as ``cv2.warpAffine`` gives them, ``matrix`` (2, 3) from source to result."""
    is_bilinear = interpolation == "bilinear"
    if is_bilinear:
        boxes, bitmaps = _with_border(boxes, bitmaps)
    origin, stride = addresses(boxes)
    new_origin, new_stride = addresses(new_boxes)
    # A bilinear look-up takes the next pixel too, so it starts before the last one.
    left, top, right, bottom = (boxes - [0, 0, is_bilinear, is_bilinear]).T << _COORDINATE_BITS
    width, height = new_boxes[:, 2:].max(axis=0, initial=1)
    (x_of_x, x_of_y), (y_of_x, y_of_y) = _fixed_point_axes(matrix, width, height, interpolation)

    out = np.zeros(bitmap_offsets(new_boxes)[-1], dtype=np.uint8)
    for _, owner, x in _column_parts(new_boxes):
        begins_x, ends_x = _span(x_of_y, left[owner] - x_of_x[x], right[owner] - x_of_x[x])
        begins_y, ends_y = _span(y_of_y, top[owner] - y_of_x[x], bottom[owner] - y_of_x[x])
        first_row = np.maximum(begins_x, begins_y)
        num_rows = (np.minimum(ends_x, ends_y) - first_row).clip(min=0)

        y = ragged_arange(first_row, num_rows)
        at_x = x_of_y[y] + np.repeat(x_of_x[x], num_rows)
        at_y = y_of_y[y] + np.repeat(y_of_x[x], num_rows)
        pixel_stride = np.repeat(stride[owner], num_rows)
        index = (at_x >> _COORDINATE_BITS) * pixel_stride + (at_y >> _COORDINATE_BITS)
        index += np.repeat(origin[owner], num_rows)
        found = (
            _bilinear(bitmaps, index, pixel_stride, at_x, at_y) if is_bilinear else bitmaps[index]
        )
        begins = new_origin[owner] + x * new_stride[owner] + first_row
        out[ragged_arange(begins, num_rows)] = found
    return out


def _span(axis: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return begin and end (exclusive) of the indices with ``low <= axis < high``, for a monotonic ``axis``."""
    if axis[-1] < axis[0]:
        axis, low, high = -axis, 1 - high, 1 - low
    return np.searchsorted(axis, low), np.searchsorted(axis, high)


def _fixed_point_axes(
    matrix: np.ndarray, width: int, height: int, interpolation: Interpolation
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return for source x and for source y what a result's column and what its row add, in fixed point."""
    a, b, c, d, e, f = (float(value) for value in matrix.ravel())
    scale = 1.0 / (a * e - b * d)
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
    bitmaps: np.ndarray,
    index: np.ndarray,
    stride: np.ndarray,
    at_x: np.ndarray,
    at_y: np.ndarray,
) -> np.ndarray:
    """Return where the mean of the pixel at ``index`` and its next in x, y and both, weighted by position, is half."""
    one = 1 << _WEIGHT_BITS
    weight_x, weight_y = (
        (at >> (_COORDINATE_BITS - _WEIGHT_BITS)) & (one - 1) for at in (at_x, at_y)
    )
    next_x = index + stride
    upper = (one - weight_x) * bitmaps[index] + weight_x * bitmaps[next_x]
    lower = (one - weight_x) * bitmaps[index + 1] + weight_x * bitmaps[next_x + 1]
    return (one - weight_y) * upper + weight_y * lower >= one * one // 2


def _with_border(boxes: np.ndarray, bitmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes, which then may reach out of the image, and bitmaps with one pixel of 0 around."""
    new_boxes = boxes + np.array([-1, -1, 1, 1])
    out = np.zeros(bitmap_offsets(new_boxes)[-1], dtype=bitmaps.dtype)
    origin, stride = addresses(new_boxes)
    owner, x = columns_of(boxes)
    begins = origin[owner] + x * stride[owner] + boxes[owner, 1]
    out[ragged_arange(begins, stride[owner] - 2)] = bitmaps
    return new_boxes, out


def _column_parts(boxes: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (part of the flat buffer, box and x of each column in it), about `_PIXELS_AT_ONCE` pixels at a time."""
    owner, x = columns_of(boxes)
    _, height = box_sizes(boxes)
    offsets = offsets_from_lengths(height[owner])
    begin = 0
    while begin < len(owner):
        reach = np.searchsorted(offsets, offsets[begin] + _PIXELS_AT_ONCE, side="right") - 1
        end = max(int(reach), begin + 1)
        yield slice(offsets[begin], offsets[end]), owner[begin:end], x[begin:end]
        begin = end
