"""Deformable RoI pooling (Dai et al., Deformable Convolutional Networks, 2017).

The mean of bilinear samples in each bin, as RoIAlign takes it, where each bin is moved by an offset of its own, in
units of ``gamma`` x the region's size. mmcv has it on GPUs only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu.rois import check_rois, check_shape, divide, taps_of_bin
from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give
from cellseg_mmdet.ops.threads import share_out


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
    """Write the pooled regions into ``output``.

    A bin moved by NaN or infinity holds 0, as one that is moved off the map does. So does a region of negative
    size, unless ``sampling_ratio`` is given.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) index of the image and xyxy in pixels of the image.
        offset: (K, 2, pooled_height, pooled_width) moves along x and y; or empty, for none.
        output: (K, C, pooled_height, pooled_width), written.
        pooled_height: rows of bins.
        pooled_width: columns of bins.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: samples of a bin on each axis; 0 takes one a pixel, rounded up.
        gamma: an offset of 1 moves by this part of the region's width or height.

    Raises:
        ValueError: a region names no image of the batch, or has a corner that is NaN or infinite; or the offsets
            have another shape.

    Example:
        >>> features, bins = torch.arange(16.0).reshape(1, 1, 4, 4), torch.empty(1, 1, 1, 1)
        >>> right = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
        >>> region = torch.tensor([[0.0, 1, 1, 3, 3]])
        >>> deform_roi_pool_forward(features, region, right, bins, 1, 1, 1.0, 0, 0.25)
        >>> bins.item()
        8.0
    """
    features = as_array(input)
    regions, moves, scale, reach = _checked(
        "deform_roi_pool_forward", features, rois, offset, spatial_scale, gamma,
        output, (pooled_height, pooled_width),
    )  # fmt: skip
    pooled = as_array(output)
    if features.size == 0 or pooled.size == 0:
        output.detach().zero_()
        return
    settings = (scale, int(sampling_ratio), reach)
    share_out(
        lambda start, stop: _forward(features, regions, moves, *settings, pooled, start, stop),
        len(regions),
        torch.get_num_threads(),
        grain=8,
    )
    give(output, pooled)


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
    """Add the gradients of features and offsets to ``grad_input`` and ``grad_offset``.

    Along an axis on which a sample lies beyond the outermost pixels' centres, its value does not change, and the
    offset has no gradient (mmcv's GPU kernel continues the slope of the nearest pixels there).

    Args:
        grad_output: (K, C, pooled_height, pooled_width).
        input: (N, C, H, W) features.
        rois: (K, 5) index of the image and xyxy in pixels of the image.
        offset: as in the forward call.
        grad_input: (N, C, H, W), added to.
        grad_offset: like ``offset``, added to.
        pooled_height: rows of bins.
        pooled_width: columns of bins.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: samples of a bin on each axis; 0 takes one a pixel, rounded up.
        gamma: an offset of 1 moves by this part of the region's width or height.

    Raises:
        ValueError: as in the forward call.

    Example:
        >>> features, region = torch.zeros(1, 1, 2, 2), torch.tensor([[0.0, 0, 0, 2, 2]])
        >>> gradient, none = torch.zeros(1, 1, 2, 2), torch.empty(0)
        >>> deform_roi_pool_backward(
        ...     torch.ones(1, 1, 1, 1), features, region, none, gradient, none, 1, 1, 1.0, 0, 0.1
        ... )
        >>> gradient.flatten().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    features = as_array(input)
    regions, moves, scale, reach = _checked(
        "deform_roi_pool_backward", features, rois, offset, spatial_scale, gamma,
        grad_output, (pooled_height, pooled_width),
    )  # fmt: skip
    check_shape("deform_roi_pool_backward", "grad_input", grad_input, features.shape)
    pooled = as_array(grad_output).astype(features.dtype, copy=False)
    if features.size == 0 or pooled.size == 0:
        return
    threads = torch.get_num_threads()
    settings = (scale, int(sampling_ratio), reach)
    gradient = as_array(grad_input)
    # Over channels: regions overlap, and then two threads would add to one pixel.
    share_out(
        lambda start, stop: _backward_input(
            pooled, regions, moves, *settings, gradient, start, stop
        ),
        gradient.shape[1],
        threads,
        grain=8,
    )
    give(grad_input, gradient)
    if offset.numel() > 0:
        turned = as_array(grad_offset)
        share_out(
            lambda start, stop: _backward_offset(
                pooled, features, regions, moves, *settings, turned, start, stop
            ),
            len(regions),
            threads,
            grain=8,
        )
        give(grad_offset, turned)


def _checked(
    operator: str,
    features: np.ndarray,
    rois: Tensor,
    offset: Tensor,
    spatial_scale: float,
    gamma: float,
    bins: Tensor,
    bins_hw: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.floating, np.floating]:
    """Return regions, offsets (zeros where there are none), scale and gamma, in the type of the features."""
    real = features.dtype.type
    regions = as_array(rois).astype(real, copy=False)
    scale = real(np.float32(spatial_scale))
    check_rois(operator, regions, features.shape[0], scale, None)
    check_shape(operator, "the tensor of bins", bins, (len(regions), features.shape[1], *bins_hw))
    shape = (len(regions), 2, *bins_hw)
    if offset.numel() == 0:
        return regions, np.zeros(shape, real), scale, real(np.float32(gamma))
    check_shape(operator, "offset", offset, shape)
    moves = as_array(offset).astype(real, copy=False)
    return regions, moves, scale, real(np.float32(gamma))


@kernel
def _taps(
    low: float,
    high: float,
    scale: float,
    ratio: int,
    gamma: float,
    move: float,
    place: int,
    bins: int,
    size: int,
    pixels: np.ndarray,
    weights: np.ndarray,
    slopes: np.ndarray,
) -> tuple[int, float]:
    """Write a bin's taps on one axis; return their number, and how far an offset of 1 moves the bin."""
    start, bin_length, samples = divide(low, high, scale, True, bins, ratio)
    reach = gamma * (bin_length * type(low)(bins))
    bin_start = start + reach * move + type(low)(place) * bin_length
    return taps_of_bin(bin_start, bin_length, samples, size, pixels, weights, slopes), reach


@kernel
def _scratch(size: int, real: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(size, np.int64), np.empty(size, real), np.empty(size, real)


@kernel
def _forward(
    features: np.ndarray,
    rois: np.ndarray,
    moves: np.ndarray,
    scale: float,
    ratio: int,
    gamma: float,
    output: np.ndarray,
    start: int,
    stop: int,
) -> None:
    _, channels, height, width = features.shape
    _, _, bins_h, bins_w = output.shape
    rows, row_weights, row_slopes = _scratch(height, features.dtype)
    cols, col_weights, col_slopes = _scratch(width, features.dtype)
    for roi in range(start, stop):
        box = rois[roi]
        image = features[int(box[0])]
        for y in range(bins_h):
            for x in range(bins_w):
                num_rows, _ = _taps(
                    box[2], box[4], scale, ratio, gamma, moves[roi, 1, y, x], y, bins_h,
                    height, rows, row_weights, row_slopes,
                )  # fmt: skip
                num_cols, _ = _taps(
                    box[1], box[3], scale, ratio, gamma, moves[roi, 0, y, x], x, bins_w,
                    width, cols, col_weights, col_slopes,
                )  # fmt: skip
                for channel in range(channels):
                    total = output.dtype.type(0)
                    for row in range(num_rows):
                        pixels = image[channel, rows[row]]
                        for col in range(num_cols):
                            total += row_weights[row] * col_weights[col] * pixels[cols[col]]
                    output[roi, channel, y, x] = total


@kernel
def _backward_input(
    grad_output: np.ndarray,
    rois: np.ndarray,
    moves: np.ndarray,
    scale: float,
    ratio: int,
    gamma: float,
    grad_input: np.ndarray,
    start: int,
    stop: int,
) -> None:
    _, _, height, width = grad_input.shape
    regions, _, bins_h, bins_w = grad_output.shape
    rows, row_weights, row_slopes = _scratch(height, grad_input.dtype)
    cols, col_weights, col_slopes = _scratch(width, grad_input.dtype)
    for roi in range(regions):
        box = rois[roi]
        image = grad_input[int(box[0])]
        for y in range(bins_h):
            for x in range(bins_w):
                num_rows, _ = _taps(
                    box[2], box[4], scale, ratio, gamma, moves[roi, 1, y, x], y, bins_h,
                    height, rows, row_weights, row_slopes,
                )  # fmt: skip
                num_cols, _ = _taps(
                    box[1], box[3], scale, ratio, gamma, moves[roi, 0, y, x], x, bins_w,
                    width, cols, col_weights, col_slopes,
                )  # fmt: skip
                for channel in range(start, stop):
                    gradient = grad_output[roi, channel, y, x]
                    for row in range(num_rows):
                        pixels = image[channel, rows[row]]
                        for col in range(num_cols):
                            pixels[cols[col]] += gradient * row_weights[row] * col_weights[col]


@kernel
def _backward_offset(
    grad_output: np.ndarray,
    features: np.ndarray,
    rois: np.ndarray,
    moves: np.ndarray,
    scale: float,
    ratio: int,
    gamma: float,
    grad_offset: np.ndarray,
    start: int,
    stop: int,
) -> None:
    _, channels, height, width = features.shape
    _, _, bins_h, bins_w = grad_output.shape
    rows, row_weights, row_slopes = _scratch(height, features.dtype)
    cols, col_weights, col_slopes = _scratch(width, features.dtype)
    for roi in range(start, stop):
        box = rois[roi]
        image = features[int(box[0])]
        for y in range(bins_h):
            for x in range(bins_w):
                num_rows, reach_y = _taps(
                    box[2], box[4], scale, ratio, gamma, moves[roi, 1, y, x], y, bins_h,
                    height, rows, row_weights, row_slopes,
                )  # fmt: skip
                num_cols, reach_x = _taps(
                    box[1], box[3], scale, ratio, gamma, moves[roi, 0, y, x], x, bins_w,
                    width, cols, col_weights, col_slopes,
                )  # fmt: skip
                along_y, along_x = features.dtype.type(0), features.dtype.type(0)
                for channel in range(channels):
                    gradient = grad_output[roi, channel, y, x]
                    for row in range(num_rows):
                        pixels = image[channel, rows[row]]
                        for col in range(num_cols):
                            value = gradient * pixels[cols[col]]
                            along_y += row_slopes[row] * col_weights[col] * value
                            along_x += row_weights[row] * col_slopes[col] * value
                grad_offset[roi, 0, y, x] += reach_x * along_x
                grad_offset[roi, 1, y, x] += reach_y * along_y
