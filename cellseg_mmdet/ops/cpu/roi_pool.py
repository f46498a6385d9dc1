"""RoIPool (Girshick, Fast R-CNN, 2015): the greatest pixel of each bin of a region, its corners rounded outwards."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu.rois import check_rois, check_shape
from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give
from cellseg_mmdet.ops.threads import share_out


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write each bin's greatest pixel into ``output``, and which one it is into ``argmax``.

    A bin without a pixel on the map, and all bins of a region of negative size, hold 0 and -1. NaN pixels are
    passed over, unless a bin has no others.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) index of the image and xyxy in pixels of the image, the last pixel included.
        output: (K, C, pooled_height, pooled_width), written.
        argmax: int32 of the same shape, written: row x W + column, -1 for none.
        pooled_height: rows of bins.
        pooled_width: columns of bins.
        spatial_scale: pixels of the map per pixel of the image.

    Raises:
        ValueError: a region names no image of the batch, or has a corner that is NaN or infinite.

    Example:
        >>> features = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> bins, places = torch.empty(1, 1, 2, 2), torch.empty(1, 1, 2, 2, dtype=torch.int32)
        >>> roi_pool_forward(features, torch.tensor([[0.0, 0, 0, 3, 3]]), bins, places, 2, 2, 1.0)
        >>> bins.flatten().tolist()
        [5.0, 7.0, 13.0, 15.0]
    """
    features = as_array(input)
    regions = as_array(rois).astype(features.dtype, copy=False)
    scale = features.dtype.type(np.float32(spatial_scale))
    check_rois("roi_pool_forward", regions, input.shape[0], scale, None)
    shape = (len(regions), features.shape[1], pooled_height, pooled_width)
    check_shape("roi_pool_forward", "output", output, shape)
    check_shape("roi_pool_forward", "argmax", argmax, shape)
    pooled, places = as_array(output), as_array(argmax)
    share_out(
        lambda start, stop: _forward(features, regions, scale, pooled, places, start, stop),
        len(regions),
        torch.get_num_threads(),
        grain=8,
    )
    give(output, pooled)
    give(argmax, places)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add each bin's gradient to ``grad_input`` at the pixel that ``argmax`` names.

    Args:
        grad_output: (K, C, pooled_height, pooled_width).
        rois: (K, 5), as in the forward call; only the images' indices are read.
        argmax: as the forward call wrote it.
        grad_input: (N, C, H, W), added to.
        pooled_height: rows of bins.
        pooled_width: columns of bins.
        spatial_scale: not used; mmcv passes it.

    Raises:
        ValueError: as in the forward call.

    Example:
        >>> gradient, region = torch.zeros(1, 1, 2, 2), torch.tensor([[0.0, 0, 0, 1, 1]])
        >>> places = torch.full((1, 1, 1, 1), 3, dtype=torch.int32)
        >>> roi_pool_backward(torch.ones(1, 1, 1, 1), region, places, gradient, 1, 1, 1.0)
        >>> gradient.flatten().tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    pooled = as_array(grad_output)
    regions = as_array(rois).astype(pooled.dtype, copy=False)
    check_rois("roi_pool_backward", regions, grad_input.shape[0], regions.dtype.type(1), None)
    shape = (len(regions), grad_input.shape[1], pooled_height, pooled_width)
    check_shape("roi_pool_backward", "grad_output", grad_output, shape)
    check_shape("roi_pool_backward", "argmax", argmax, shape)
    gradient, places = as_array(grad_input), as_array(argmax)
    # Over channels: regions overlap, and then two threads would add to one pixel.
    share_out(
        lambda start, stop: _backward(pooled, regions, places, gradient, start, stop),
        gradient.shape[1],
        torch.get_num_threads(),
        grain=8,
    )
    give(grad_input, gradient)


@kernel
def _forward(
    features: np.ndarray,
    rois: np.ndarray,
    scale: float,
    output: np.ndarray,
    argmax: np.ndarray,
    start: int,
    stop: int,
) -> None:
    _, channels, height, width = features.shape
    _, _, bins_h, bins_w = output.shape
    tops, bottoms = np.empty(bins_h, np.int64), np.empty(bins_h, np.int64)
    lefts, rights = np.empty(bins_w, np.int64), np.empty(bins_w, np.int64)
    for roi in range(start, stop):
        box = rois[roi]
        some_h = _bins(box[2], box[4], scale, height, tops, bottoms)
        some_w = _bins(box[1], box[3], scale, width, lefts, rights)
        for channel in range(channels):
            pixels = features[int(box[0]), channel]
            for bin_row in range(bins_h):
                for bin_col in range(bins_w):
                    best, place = output.dtype.type(0), -1
                    if some_h and some_w:
                        for row in range(tops[bin_row], bottoms[bin_row]):
                            for col in range(lefts[bin_col], rights[bin_col]):
                                value = pixels[row, col]
                                if place < 0 or value > best or np.isnan(best):
                                    best, place = value, row * width + col
                    output[roi, channel, bin_row, bin_col] = best
                    argmax[roi, channel, bin_row, bin_col] = place


@kernel
def _bins(
    low: float, high: float, scale: float, size: int, firsts: np.ndarray, lasts: np.ndarray
) -> bool:
    """Write the first pixel of each bin on one axis, and the one after its last; return if the region has a size."""
    real = type(low)
    start = low * scale
    length = (high + real(1)) * scale - start
    bin_length = length / real(firsts.size)
    for place in range(firsts.size):
        # Bounded before they become integers: a coordinate may be greater than any integer.
        first = np.floor(real(place) * bin_length + start)
        last = np.ceil(real(place + 1) * bin_length + start)
        firsts[place] = int(min(max(first, real(0)), real(size)))
        lasts[place] = int(min(max(last, real(0)), real(size)))
    return length > 0


@kernel
def _backward(
    grad_output: np.ndarray,
    rois: np.ndarray,
    argmax: np.ndarray,
    grad_input: np.ndarray,
    start: int,
    stop: int,
) -> None:
    _, _, height, width = grad_input.shape
    regions, _, bins_h, bins_w = grad_output.shape
    for roi in range(regions):
        image = int(rois[roi, 0])
        for channel in range(start, stop):
            pixels = grad_input[image, channel]
            for bin_row in range(bins_h):
                for bin_col in range(bins_w):
                    place = argmax[roi, channel, bin_row, bin_col]
                    if place >= 0 and place < height * width:
                        pixels[place // width, place % width] += grad_output[
                            roi, channel, bin_row, bin_col
                        ]
