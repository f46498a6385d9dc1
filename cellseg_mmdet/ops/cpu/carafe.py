"""CARAFE (Wang et al. 2019, https://arxiv.org/abs/1905.02188): upsampling with a kernel of its own for each pixel.

The value at (y, x) is the sum over the K x K neighbours of pixel (y // scale, x // scale), weighted by the masks at
(y, x); neighbours outside of the picture count as zero. mmcv has no compiled operator for the CPU, and its own Python
refuses to take `CARAFENaive` backward there.

The kernels work on rows: a row of pixels, each repeated ``scale`` times, lies beside a row of the output, so that a
neighbour is the same row shifted. Which neighbour of which pixel a value meets is then a matter of where a row begins.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give
from cellseg_mmdet.ops.threads import share_out


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the upsampled features into ``output``, (N, C, H * scale_factor, W * scale_factor).

    Args:
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size^2, H * scale_factor, W * scale_factor).
        group_size: groups of channels, each with masks of its own.
    """
    values = as_array(output)
    work = functools.partial(_upsample, as_array(features), as_array(masks), kernel_size, values)
    share_out(work, values.shape[0] * values.shape[1], torch.get_num_threads())
    give(output, values)


def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the gradients of features and masks into ``grad_input`` and ``grad_masks``."""
    gradient, pixels, weights = as_array(grad_output), as_array(features), as_array(masks)
    by_pixel, by_mask = as_array(grad_input), as_array(grad_masks)
    threads = torch.get_num_threads()
    batch, channels, height, _ = pixels.shape
    gather = functools.partial(_gather_gradients, gradient, weights, kernel_size, by_pixel)
    share_out(gather, batch * channels, threads)
    correlate = functools.partial(_correlate, gradient, pixels, kernel_size, by_mask)
    share_out(correlate, batch * group_size * height, threads)
    give(grad_input, by_pixel)
    give(grad_masks, by_mask)


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Do as `carafe_naive_forward`, and keep the features in ``rfeatures`` for the way back."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Do as `carafe_naive_backward`, with the features that `carafe_forward` kept."""
    carafe_naive_backward(
        grad_output,
        rfeatures,
        masks,
        grad_input,
        grad_masks,
        kernel_size,
        group_size,
        scale_factor,
    )


@kernel
def _repeat(row: np.ndarray, scale: int, margin: int, wide: np.ndarray) -> None:
    """Write each pixel of ``row`` ``scale`` times into ``wide``, behind a margin of ``margin`` pixels."""
    for column in range(len(row)):
        for step in range(scale):
            wide[(column + margin) * scale + step] = row[column]


@kernel(fast=True)
def _upsample(
    features: np.ndarray,
    masks: np.ndarray,
    kernel_size: int,
    output: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Write the planes of the output from ``start`` to ``stop``, counted over pictures and channels."""
    channels, height, width = features.shape[1:]
    scale = output.shape[2] // height
    margin = kernel_size // 2
    per_group = channels * kernel_size**2 // masks.shape[1]
    wide = np.zeros((height, (width + 2 * margin) * scale), dtype=features.dtype)
    for item in range(start, stop):
        picture, channel = item // channels, item % channels
        first = channel // per_group * kernel_size**2
        for row in range(height):
            _repeat(features[picture, channel, row], scale, margin, wide[row])
        for y in range(output.shape[2]):
            total = output[picture, channel, y]
            total[:] = 0
            for down in range(kernel_size):
                row = y // scale + down - margin
                if not 0 <= row < height:
                    continue
                for across in range(kernel_size):
                    weights = masks[picture, first + down * kernel_size + across, y]
                    pixels = wide[row, across * scale :]
                    for x in range(len(total)):
                        total[x] += weights[x] * pixels[x]


@kernel(fast=True)
def _gather_gradients(
    gradient: np.ndarray,
    masks: np.ndarray,
    kernel_size: int,
    by_pixel: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of the features' planes from ``start`` to ``stop``."""
    channels, height, width = by_pixel.shape[1:]
    scale = gradient.shape[2] // height
    margin = kernel_size // 2
    per_group = channels * kernel_size**2 // masks.shape[1]
    wide = np.empty((height, (width + 2 * margin) * scale), dtype=gradient.dtype)
    for item in range(start, stop):
        picture, channel = item // channels, item % channels
        first = channel // per_group * kernel_size**2
        wide[:] = 0
        for y in range(gradient.shape[2]):
            row_gradient = gradient[picture, channel, y]
            for down in range(kernel_size):
                row = y // scale + down - margin
                if not 0 <= row < height:
                    continue
                for across in range(kernel_size):
                    weights = masks[picture, first + down * kernel_size + across, y]
                    total = wide[row, across * scale :]
                    for x in range(len(row_gradient)):
                        total[x] += weights[x] * row_gradient[x]
        for row in range(height):
            for column in range(width):
                begin = (column + margin) * scale
                total_of_pixel = wide[row, begin]
                for step in range(1, scale):
                    total_of_pixel += wide[row, begin + step]
                by_pixel[picture, channel, row, column] = total_of_pixel


@kernel(fast=True)
def _correlate(
    gradient: np.ndarray,
    features: np.ndarray,
    kernel_size: int,
    by_mask: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of the masks, for the rows of the features from ``start`` to ``stop`` over all groups."""
    channels, height, width = features.shape[1:]
    scale = gradient.shape[2] // height
    margin = kernel_size // 2
    groups = by_mask.shape[1] // kernel_size**2
    per_group = channels // groups
    wide = np.zeros((kernel_size, (width + 2 * margin) * scale), dtype=features.dtype)
    for item in range(start, stop):
        middle = item % height
        group = item // height % groups
        picture = item // height // groups
        first = group * kernel_size**2
        by_mask[picture, first : first + kernel_size**2, middle * scale : (middle + 1) * scale] = 0
        for channel in range(group * per_group, (group + 1) * per_group):
            for down in range(kernel_size):
                row = middle + down - margin
                if not 0 <= row < height:
                    continue
                _repeat(features[picture, channel, row], scale, margin, wide[down])
                for y in range(middle * scale, (middle + 1) * scale):
                    row_gradient = gradient[picture, channel, y]
                    for across in range(kernel_size):
                        total = by_mask[picture, first + down * kernel_size + across, y]
                        pixels = wide[down, across * scale :]
                        for x in range(len(total)):
                            total[x] += row_gradient[x] * pixels[x]
