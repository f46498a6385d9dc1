"""RoIAlign (He et al. 2017, https://arxiv.org/abs/1703.06870), forward and backward.

A bilinear sample is a product of a weight for the row and one for the column, and the samples of a bin lie on a grid.
So an average over a bin is ``rows @ pixels @ columns`` with two short vectors, which all channels of a RoI share. The
kernels go through a few channels for all RoIs, so that their maps stay in the cache, and a thread owns its channels: no
sum depends on how many threads there are.

Of a maximum, the samples are taken one by one.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu.rois import by_channel, checked_rois
from cellseg_mmdet.ops.cpu.sampling import add_to_sample, sample
from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give
from cellseg_mmdet.ops.threads import share_out

_AVERAGE = 1  # mmcv's pool_mode; 0 is the maximum


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the bins of all RoIs into ``output``, (K, C, aligned_height, aligned_width).

    Args:
        input: (N, C, H, W); float16 and bfloat16 are calculated in float32.
        rois: (K, 5) as image, x1, y1, x2, y2.
        argmax_y, argmax_x: of the shape of ``output`` for the maximum: where it was found, -1 where a bin has no
            sample. Not used for the average.
        spatial_scale: pixels of ``input`` a unit of ``rois``.
        sampling_ratio: samples a bin and axis; 0: one a pixel, rounded up.
        pool_mode: 1 for the average, 0 for the maximum.
        aligned: whether pixel centres are shifted by one half.

    Raises:
        ValueError: on RoIs that are not finite, of an image that is not there, or (``aligned``) of negative size.
    """
    pixels = as_array(input)
    boxes = checked_rois("roi_align", rois, input)
    start, size = _extents(boxes, spatial_scale, aligned)
    images = boxes[:, 0].astype(np.int64)
    shape = (aligned_height, aligned_width)
    if pool_mode == _AVERAGE:
        rows = _axis_weights(start[0], size[0], shape[0], sampling_ratio, input.shape[2])
        columns = _axis_weights(start[1], size[1], shape[1], sampling_ratio, input.shape[3])
        values = as_array(output)
        average = functools.partial(_average, pixels, images, *rows, *columns, values)
        channels, count = pixels.shape[1], len(boxes)
        if channels >= torch.get_num_threads():
            by_channel(lambda first, last: average(first, last, 0, count), channels, count)
        elif channels:  # masks: one channel, many RoIs
            share_out(
                lambda first, last: average(0, channels, first, last),
                count,
                torch.get_num_threads(),
                grain=64,
            )
        give(output, values)
    else:
        grids = [_grid(size[axis], shape[axis], sampling_ratio) for axis in (0, 1)]
        found = [as_array(tensor) for tensor in (output, argmax_y, argmax_x)]
        maximum = functools.partial(_maximum, pixels, images, *start, *size, *grids, *found)
        by_channel(maximum, pixels.shape[1], len(boxes))
        for tensor, values in zip((output, argmax_y, argmax_x), found, strict=True):
            give(tensor, values)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the input to ``grad_input``, (N, C, H, W); the other arguments are the forward pass's."""
    gradients = as_array(grad_output)
    boxes = checked_rois("roi_align", rois, grad_input)
    images = boxes[:, 0].astype(np.int64)
    total = as_array(grad_input)
    if pool_mode == _AVERAGE:
        start, size = _extents(boxes, spatial_scale, aligned)
        height, width = grad_input.shape[2:]
        rows = _axis_weights(start[0], size[0], aligned_height, sampling_ratio, height)
        columns = _axis_weights(start[1], size[1], aligned_width, sampling_ratio, width)
        spread = functools.partial(_spread, gradients, images, *rows, *columns, total)
    else:
        places = as_array(argmax_y), as_array(argmax_x)
        spread = functools.partial(_spread_maximum, gradients, images, *places, total)
    by_channel(spread, total.shape[1], len(boxes))
    give(grad_input, total)


def _extents(
    boxes: np.ndarray, spatial_scale: float, aligned: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return begin and size of the RoIs in pixels, each (2, K) with the rows first."""
    real = boxes.dtype.type
    begin = boxes[:, [2, 1]].T * real(spatial_scale) - real(0.5 if aligned else 0)
    size = boxes[:, [4, 3]].T * real(spatial_scale) - real(0.5 if aligned else 0) - begin
    if not aligned:
        size = np.maximum(size, real(1))
    elif (size < 0).any():
        row = int(np.argmax((size < 0).any(axis=0)))
        raise ValueError(
            f"roi_align: RoI {row} has a negative size: image, x1, y1, x2, y2 = {boxes[row].tolist()}"
        )
    return np.ascontiguousarray(begin), np.ascontiguousarray(size)


def _grid(size: np.ndarray, bins: int, sampling_ratio: int) -> np.ndarray:
    """Return the samples a bin of each RoI along an axis, as floats: a RoI may be absurdly large."""
    if sampling_ratio > 0:
        return np.full(len(size), sampling_ratio, dtype=np.float64)
    return np.ceil((size / size.dtype.type(bins)).astype(np.float32)).astype(np.float64)


def _axis_weights(
    start: np.ndarray, size: np.ndarray, bins: int, sampling_ratio: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the bins of K RoIs along one axis as weighted pixels.

    Returns:
        ``first`` and ``count`` (K, bins): the pixels of each bin; ``offsets`` (K, bins): where its weights begin in
        ``weights``, which are divided by the number of samples.
    """
    grid = _grid(size, bins, sampling_ratio)
    # A bin of some pixels touches two more on either side; one that is larger than the axis, all of them.
    room = np.minimum(size.astype(np.float64) / bins + 4, length).astype(np.int64)
    begin = np.concatenate([[0], np.cumsum(room * bins)])
    offsets = begin[:-1, None] + room[:, None] * np.arange(bins)
    first, count = np.zeros((2, len(start), bins), dtype=np.int64)
    weights = np.zeros(begin[-1], dtype=start.dtype)
    _weigh_pixels(start, size, grid, length, first, count, offsets, weights)
    return first, count, offsets, weights


@kernel
def _weigh_pixels(
    start: np.ndarray,
    size: np.ndarray,
    grid: np.ndarray,
    length: int,
    first: np.ndarray,
    count: np.ndarray,
    offsets: np.ndarray,
    weights: np.ndarray,
) -> None:
    real = weights.dtype.type
    bins = first.shape[1]
    half = np.float32(0.5)
    for roi in range(len(start)):
        bin_size = size[roi] / real(bins)
        samples = real(grid[roi])
        share = real(1) / max(samples, real(1))
        for place in range(bins):
            begin = start[roi] + real(place) * bin_size
            lowest, highest = _samples_inside(begin, bin_size, grid[roi], length)
            touched = 0
            origin = 0
            for index in range(lowest, highest):
                # In mmcv's order, so that a sample on the border is on the same side of it.
                position = begin + real(np.float32(index) + half) * bin_size / samples
                if position < -1 or position > length:
                    continue
                position = max(position, real(0))
                low = int(position)
                high = low + 1
                if low >= length - 1:
                    low = high = length - 1
                    position = real(low)
                if touched == 0:
                    origin = low
                upper = position - real(low)
                at = offsets[roi, place] - origin
                weights[at + low] += (real(1) - upper) * share
                if high > low:
                    weights[at + high] += upper * share
                touched = high - origin + 1
            first[roi, place] = origin
            count[roi, place] = touched


@kernel
def _samples_inside(begin: float, bin_size: float, samples: float, length: int) -> tuple[int, int]:
    """Return the range of a bin's samples that can lie in [-1, length]; those outside weigh nothing."""
    step = np.float64(bin_size) / max(samples, 1.0)
    if not step > 0:
        return 0, int(samples)  # all samples of an empty bin are at one place
    low = np.floor((-1 - np.float64(begin)) / step) - 2
    high = np.ceil((length - np.float64(begin)) / step) + 2
    return int(min(max(low, 0.0), samples)), int(min(max(high, 0.0), samples))


@kernel(fast=True)
def _average(
    pixels: np.ndarray,
    images: np.ndarray,
    row_first: np.ndarray,
    row_count: np.ndarray,
    row_offsets: np.ndarray,
    row_weights: np.ndarray,
    column_first: np.ndarray,
    column_count: np.ndarray,
    column_offsets: np.ndarray,
    column_weights: np.ndarray,
    values: np.ndarray,
    channel_start: int,
    channel_stop: int,
    roi_start: int,
    roi_stop: int,
) -> None:
    """Fill ``values[roi_start:roi_stop, channel_start:channel_stop]``."""
    zero = values.dtype.type(0)
    height, width = values.shape[2], values.shape[3]
    line = np.empty(pixels.shape[3], dtype=values.dtype)
    block = _channels_at_once(pixels)
    for begin_channel in range(channel_start, channel_stop, block):
        end_channel = min(begin_channel + block, channel_stop)
        for roi in range(roi_start, roi_stop):
            left, right = _span(column_first[roi], column_count[roi])
            span = right - left
            for channel in range(begin_channel, end_channel):
                plane = pixels[images[roi], channel]
                for y in range(height):
                    for x in range(span):
                        line[x] = zero
                    for row in range(row_count[roi, y]):
                        weight = row_weights[row_offsets[roi, y] + row]
                        source = plane[row_first[roi, y] + row, left:right]
                        for x in range(span):  # from 0, so that it is vectorised
                            line[x] += weight * source[x]
                    for x in range(width):
                        total = zero
                        begin, at = column_first[roi, x] - left, column_offsets[roi, x]
                        for column in range(column_count[roi, x]):
                            total += column_weights[at + column] * line[begin + column]
                        values[roi, channel, y, x] = total


@kernel
def _channels_at_once(pixels: np.ndarray) -> int:
    """Return how many channels to take for a RoI: their maps shall stay in the cache while RoIs change."""
    return max(1, min(16, 2**19 // (pixels.shape[2] * pixels.shape[3] * pixels.itemsize + 1)))


@kernel
def _span(first: np.ndarray, count: np.ndarray) -> tuple[int, int]:
    """Return the range of pixels that the bins of an axis touch."""
    low, high = 1 << 62, 0
    for place in range(len(first)):
        if count[place]:
            low = min(low, first[place])
            high = max(high, first[place] + count[place])
    return min(low, high), high


@kernel(fast=True)
def _spread(
    gradients: np.ndarray,
    images: np.ndarray,
    row_first: np.ndarray,
    row_count: np.ndarray,
    row_offsets: np.ndarray,
    row_weights: np.ndarray,
    column_first: np.ndarray,
    column_count: np.ndarray,
    column_offsets: np.ndarray,
    column_weights: np.ndarray,
    total: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    """Add the gradients of the averages to ``total[:, channel_start:channel_stop]``."""
    zero = total.dtype.type(0)
    height, width = gradients.shape[2], gradients.shape[3]
    line = np.empty(total.shape[3], dtype=total.dtype)
    block = _channels_at_once(total)
    for begin_channel in range(channel_start, channel_stop, block):
        end_channel = min(begin_channel + block, channel_stop)
        for roi in range(len(images)):
            left, right = _span(column_first[roi], column_count[roi])
            span = right - left
            for channel in range(begin_channel, end_channel):
                plane = total[images[roi], channel]
                for y in range(height):
                    for x in range(span):
                        line[x] = zero
                    for x in range(width):
                        gradient = gradients[roi, channel, y, x]
                        begin, at = column_first[roi, x] - left, column_offsets[roi, x]
                        for column in range(column_count[roi, x]):
                            line[begin + column] += column_weights[at + column] * gradient
                    for row in range(row_count[roi, y]):
                        weight = row_weights[row_offsets[roi, y] + row]
                        target = plane[row_first[roi, y] + row, left:right]
                        for x in range(span):
                            target[x] += weight * line[x]


@kernel
def _maximum(
    pixels: np.ndarray,
    images: np.ndarray,
    start_y: np.ndarray,
    start_x: np.ndarray,
    size_y: np.ndarray,
    size_x: np.ndarray,
    grid_y: np.ndarray,
    grid_x: np.ndarray,
    values: np.ndarray,
    argmax_y: np.ndarray,
    argmax_x: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    """Fill the channels of ``values`` with the largest sample of each bin, and where it is."""
    real = values.dtype.type
    half = np.float32(0.5)
    length_y, length_x = pixels.shape[2], pixels.shape[3]
    height, width = values.shape[2], values.shape[3]
    for roi in range(len(images)):
        bin_y, bin_x = size_y[roi] / real(height), size_x[roi] / real(width)
        for y in range(height):
            begin_y = start_y[roi] + real(y) * bin_y
            first_y, last_y = _with_one_outside(begin_y, bin_y, grid_y[roi], length_y)
            for x in range(width):
                begin_x = start_x[roi] + real(x) * bin_x
                first_x, last_x = _with_one_outside(begin_x, bin_x, grid_x[roi], length_x)
                for channel in range(channel_start, channel_stop):
                    plane = pixels[images[roi], channel]
                    best, best_y, best_x = real(-10000), real(-1), real(-1)  # mmcv's lower bound
                    for sample_y in range(first_y, last_y):
                        at_y = begin_y + real(np.float32(sample_y) + half) * bin_y / real(
                            grid_y[roi]
                        )
                        for sample_x in range(first_x, last_x):
                            at_x = begin_x + real(np.float32(sample_x) + half) * bin_x / real(
                                grid_x[roi]
                            )
                            value = sample(plane, at_y, at_x)
                            if value > best:
                                best, best_y, best_x = value, at_y, at_x
                    values[roi, channel, y, x] = best
                    argmax_y[roi, channel, y, x] = best_y
                    argmax_x[roi, channel, y, x] = best_x


@kernel
def _with_one_outside(
    begin: float, bin_size: float, samples: float, length: int
) -> tuple[int, int]:
    """Return the range of samples to look at: those inside, and one outside, which counts as 0, if there is one."""
    low, high = _samples_inside(begin, bin_size, samples, length)
    return int(max(low - 1, 0)), int(min(high + 1.0, samples))


@kernel
def _spread_maximum(
    gradients: np.ndarray,
    images: np.ndarray,
    argmax_y: np.ndarray,
    argmax_x: np.ndarray,
    total: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    """Add the gradients of the maxima to ``total[:, channel_start:channel_stop]``."""
    real = total.dtype.type
    for channel in range(channel_start, channel_stop):
        for roi in range(len(images)):
            plane = total[images[roi], channel]
            for row in range(gradients.shape[2]):
                for column in range(gradients.shape[3]):
                    y, x = argmax_y[roi, channel, row, column], argmax_x[roi, channel, row, column]
                    if y != -1:
                        add_to_sample(plane, real(y), real(x), gradients[roi, channel, row, column])
