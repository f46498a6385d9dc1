"""Deformable RoI pooling (Zhu et al. 2019, https://arxiv.org/abs/1811.11168): RoIAlign whose bins are shifted.

As mmcv's operator for CUDA; it has none for the CPU.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu.rois import by_channel, checked_rois
from cellseg_mmdet.ops.cpu.sampling import add_to_sample, sample, slopes
from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give
from cellseg_mmdet.ops.threads import share_out

# More samples a bin and axis than this are thinned out: a RoI may be absurdly large.
_MOST_SAMPLES = 4096


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the averages of the bins into ``output``, (K, C, pooled_height, pooled_width).

    Args:
        input: (N, C, H, W).
        rois: (K, 5) as image, x1, y1, x2, y2.
        offset: (K, 2, pooled_height, pooled_width), shifts along x and y in sizes of the RoI, or empty for none.
        spatial_scale: pixels of ``input`` a unit of ``rois``.
        sampling_ratio: samples a bin and axis; 0: one a pixel, rounded up.
        gamma: factor of the shifts.

    Raises:
        ValueError: on RoIs that are not finite or of an image that is not there.
    """
    pixels, values = as_array(input), as_array(output)
    places = _places(rois, offset, input, values.shape, spatial_scale, sampling_ratio, gamma)
    average = functools.partial(_average, pixels, *places, values)
    by_channel(average, pixels.shape[1], len(values))
    give(output, values)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add the gradients to ``grad_input`` and, where there are shifts, to ``grad_offset``."""
    gradients, pixels = as_array(grad_output), as_array(input)
    total, total_offset = as_array(grad_input), as_array(grad_offset)
    places = _places(rois, offset, input, gradients.shape, spatial_scale, sampling_ratio, gamma)
    spread = functools.partial(_spread, gradients, *places, total)
    by_channel(spread, pixels.shape[1], len(gradients))
    give(grad_input, total)
    if offset.numel():
        # A thread owns its RoIs here: a shift is shared by all channels.
        shift = functools.partial(_spread_offset, pixels, gradients, *places, gamma, total_offset)
        share_out(shift, len(gradients), torch.get_num_threads())
        give(grad_offset, total_offset)


def _places(
    rois: Tensor,
    offset: Tensor,
    input: Tensor,
    shape: tuple[int, ...],
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> tuple[np.ndarray, ...]:
    """Return image (K,), bin size (2, K), samples (2, K) and begin of each bin (2, K, height, width), y before x."""
    boxes = checked_rois("deform_roi_pool", rois, input)
    real, count, bins = boxes.dtype.type, len(boxes), shape[2:]
    begin = boxes[:, [2, 1]].T * real(spatial_scale) - real(0.5)
    size = boxes[:, [4, 3]].T * real(spatial_scale) - real(0.5) - begin
    bin_size = size / np.array(bins, dtype=boxes.dtype)[:, None]
    if sampling_ratio > 0:
        samples = np.full((2, count), sampling_ratio)
    else:
        samples = np.ceil(bin_size).clip(0, _MOST_SAMPLES).astype(np.int64)
    starts = np.empty((2, count, *bins), dtype=boxes.dtype)
    starts[0] = (begin[0][:, None] + np.arange(bins[0]) * bin_size[0][:, None])[:, :, None]
    starts[1] = (begin[1][:, None] + np.arange(bins[1]) * bin_size[1][:, None])[:, None, :]
    if offset.numel():
        shifts = as_array(offset).reshape(count, 2, *bins)[:, ::-1].transpose(1, 0, 2, 3)
        starts += real(gamma) * size[:, :, None, None] * shifts
    return boxes[:, 0].astype(np.int64), np.ascontiguousarray(bin_size), samples, starts


@kernel
def _average(
    pixels: np.ndarray,
    images: np.ndarray,
    bin_size: np.ndarray,
    samples: np.ndarray,
    starts: np.ndarray,
    values: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    real = values.dtype.type
    for roi in range(len(images)):
        rows, columns = samples[0, roi], samples[1, roi]
        share = real(1) / real(max(rows * columns, 1))
        for y in range(values.shape[2]):
            for x in range(values.shape[3]):
                for channel in range(channel_start, channel_stop):
                    plane = pixels[images[roi], channel]
                    total = real(0)
                    for row in range(rows):
                        at_y = _place(starts[0, roi, y, x], bin_size[0, roi], row, rows)
                        for column in range(columns):
                            at_x = _place(starts[1, roi, y, x], bin_size[1, roi], column, columns)
                            total += sample(plane, at_y, at_x)
                    values[roi, channel, y, x] = total * share


@kernel
def _place(start: float, size: float, index: int, count: int) -> Any:
    """Return where sample ``index`` of ``count`` lies in a bin, in the type of ``start``."""
    return start + size * np.float32((index + 0.5) / count)


@kernel
def _spread(
    gradients: np.ndarray,
    images: np.ndarray,
    bin_size: np.ndarray,
    samples: np.ndarray,
    starts: np.ndarray,
    total: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    real = total.dtype.type
    for channel in range(channel_start, channel_stop):
        for roi in range(len(images)):
            plane = total[images[roi], channel]
            rows, columns = samples[0, roi], samples[1, roi]
            share = real(1) / real(max(rows * columns, 1))
            for y in range(gradients.shape[2]):
                for x in range(gradients.shape[3]):
                    gradient = gradients[roi, channel, y, x] * share
                    for row in range(rows):
                        at_y = _place(starts[0, roi, y, x], bin_size[0, roi], row, rows)
                        for column in range(columns):
                            at_x = _place(starts[1, roi, y, x], bin_size[1, roi], column, columns)
                            add_to_sample(plane, at_y, at_x, gradient)


@kernel
def _spread_offset(
    pixels: np.ndarray,
    gradients: np.ndarray,
    images: np.ndarray,
    bin_size: np.ndarray,
    samples: np.ndarray,
    starts: np.ndarray,
    gamma: float,
    total: np.ndarray,
    roi_start: int,
    roi_stop: int,
) -> None:
    real = total.dtype.type
    height, width = gradients.shape[2], gradients.shape[3]
    for roi in range(roi_start, roi_stop):
        rows, columns = samples[0, roi], samples[1, roi]
        share = real(gamma) / real(max(rows * columns, 1))
        size_y, size_x = bin_size[0, roi] * real(height), bin_size[1, roi] * real(width)
        for channel in range(pixels.shape[1]):
            plane = pixels[images[roi], channel]
            for y in range(height):
                for x in range(width):
                    gradient = gradients[roi, channel, y, x] * share
                    for row in range(rows):
                        at_y = _place(starts[0, roi, y, x], bin_size[0, roi], row, rows)
                        for column in range(columns):
                            at_x = _place(starts[1, roi, y, x], bin_size[1, roi], column, columns)
                            along_y, along_x = slopes(plane, at_y, at_x)
                            total[roi, 0, y, x] += along_x * gradient * size_x
                            total[roi, 1, y, x] += along_y * gradient * size_y
