"""RoIAlign (He et al., Mask R-CNN, 2017): bilinear samples on a grid in each bin of a region, their mean or maximum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu.roi_align_maximum import backward_maximum, forward_maximum
from cellseg_mmdet.ops.cpu.roi_align_mean import backward_mean, forward_mean
from cellseg_mmdet.ops.cpu.rois import check_rois, check_shape, touched_at_most
from cellseg_mmdet.ops.cpu.windows import BLOCK
from cellseg_mmdet.ops.tensors import as_array, give
from cellseg_mmdet.ops.threads import share_out

MAXIMUM = 0  # the other pool_mode is the mean


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
    """Write the pooled regions into ``output``, and where the maxima were sampled into the argmax tensors.

    Samples further than a pixel outside the map count as 0. A region of any finite size is worked on in the time
    of one that covers the map.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) index of the image and xyxy in pixels of the image.
        output: (K, C, aligned_height, aligned_width), written.
        argmax_y: like ``output`` where ``pool_mode`` is 0, written: row coordinate on the map of the greatest
            sample, -1 where there is none; else empty.
        argmax_x: the same for columns.
        aligned_height: rows of bins.
        aligned_width: columns of bins.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: samples of a bin on each axis; 0 takes one a pixel, rounded up.
        pool_mode: 0 maximum, 1 mean.
        aligned: pixel centres lie half a pixel inside (the regions are shifted by -0.5); False is mmdet 1.x's way,
            where a region is at least one pixel large as well.

    Raises:
        ValueError: a region names no image of the batch, has a corner that is NaN or infinite, or a negative size
            while ``aligned``.

    Example:
        >>> features, bins = torch.arange(16.0).reshape(1, 1, 4, 4), torch.empty(1, 1, 1, 1)
        >>> nothing = torch.empty(0)
        >>> roi_align_forward(
        ...     features, torch.tensor([[0.0, 0, 0, 4, 4]]), bins, nothing, nothing, 1, 1, 1.0, 0, 1, True
        ... )
        >>> bins.item()
        7.5
    """
    features, regions, scale = _checked(
        "roi_align_forward", input, input.shape, rois, spatial_scale, aligned
    )
    bins_hw = (aligned_height, aligned_width)
    shape = (len(regions), features.shape[1], *bins_hw)
    check_shape("roi_align_forward", "output", output, shape)
    if input.numel() == 0 or output.numel() == 0:
        output.detach().zero_()
        return
    limits = _limits(regions, scale, bins_hw, sampling_ratio, features.shape)
    common = (regions, scale, bool(aligned), int(sampling_ratio), limits)
    threads = torch.get_num_threads()
    pooled = as_array(output)
    if pool_mode == MAXIMUM:
        check_shape("roi_align_forward", "argmax_y", argmax_y, shape)
        check_shape("roi_align_forward", "argmax_x", argmax_x, shape)
        ys, xs = as_array(argmax_y), as_array(argmax_x)
        share_out(
            lambda start, stop: forward_maximum(features, *common, pooled, ys, xs, start, stop),
            len(regions),
            threads,
            grain=8,
        )
        give(argmax_y, ys)
        give(argmax_x, xs)
    else:
        share_out(
            lambda start, stop: forward_mean(features, *common, pooled, start, stop),
            len(regions),
            threads,
            grain=8,
        )
    give(output, pooled)


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
    """Add the gradient of the features to ``grad_input``; the arguments are those of the forward call.

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        rois: (K, 5) index of the image and xyxy in pixels of the image.
        argmax_y: as the forward call wrote it.
        argmax_x: as the forward call wrote it.
        grad_input: (N, C, H, W), added to.
        aligned_height: rows of bins.
        aligned_width: columns of bins.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: samples of a bin on each axis; 0 takes one a pixel, rounded up.
        pool_mode: 0 maximum, 1 mean.
        aligned: as in the forward call.

    Raises:
        ValueError: as in the forward call.

    Example:
        >>> gradient, nothing = torch.zeros(1, 1, 2, 2), torch.empty(0)
        >>> region, bins = torch.tensor([[0.0, 0, 0, 2, 2]]), torch.ones(1, 1, 1, 1)
        >>> roi_align_backward(bins, region, nothing, nothing, gradient, 1, 1, 1.0, 0, 1, True)
        >>> gradient
        tensor([[[[0.2500, 0.2500],
                  [0.2500, 0.2500]]]])
    """
    pooled, regions, scale = _checked(
        "roi_align_backward", grad_output, grad_input.shape, rois, spatial_scale, aligned
    )
    bins_hw = (aligned_height, aligned_width)
    shape = (len(regions), grad_input.shape[1], *bins_hw)
    check_shape("roi_align_backward", "grad_output", grad_output, shape)
    if grad_input.numel() == 0 or grad_output.numel() == 0:
        return
    gradient = as_array(grad_input).astype(pooled.dtype, copy=False)
    channels, threads = gradient.shape[1], torch.get_num_threads()
    # Shared out over channels: regions overlap, and then two threads would add to one pixel.
    if pool_mode == MAXIMUM:
        check_shape("roi_align_backward", "argmax_y", argmax_y, shape)
        check_shape("roi_align_backward", "argmax_x", argmax_x, shape)
        ys, xs = as_array(argmax_y), as_array(argmax_x)
        share_out(
            lambda start, stop: backward_maximum(pooled, regions, ys, xs, gradient, start, stop),
            channels,
            threads,
            grain=BLOCK,
        )
    else:
        limits = _limits(regions, scale, bins_hw, sampling_ratio, gradient.shape)
        common = (regions, scale, bool(aligned), int(sampling_ratio), limits)
        share_out(
            lambda start, stop: backward_mean(pooled, *common, gradient, start, stop),
            channels,
            threads,
            grain=BLOCK,
        )
    give(grad_input, gradient)


def _checked(
    operator: str,
    values: Tensor,
    map_shape: torch.Size,
    rois: Tensor,
    spatial_scale: float,
    aligned: bool,
) -> tuple[np.ndarray, np.ndarray, np.floating]:
    """Return values, regions and scale in one type."""
    array = as_array(values)
    regions = as_array(rois).astype(array.dtype, copy=False)
    scale = array.dtype.type(np.float32(spatial_scale))  # the compiled operators take a float
    check_rois(operator, regions, map_shape[0], scale, 0.0 if aligned else None)
    return array, regions, scale


def _limits(
    regions: np.ndarray,
    scale: np.floating,
    bins_hw: tuple[int, int],
    ratio: int,
    map_shape: tuple[int, ...],
) -> tuple[int, int]:
    """Return the greatest numbers of rows and columns that a region touches."""
    height, width = map_shape[2:]
    return (
        touched_at_most(regions, scale, bins_hw[0], ratio, 2, height),
        touched_at_most(regions, scale, bins_hw[1], ratio, 1, width),
    )
