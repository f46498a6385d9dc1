"""Deformable convolution as a matrix product: its columns, and the way back from their gradients.

For each output pixel and each of the kernel's places, a deformable convolution takes a bilinear sample at a place of
its own (Dai et al. 2017, https://arxiv.org/abs/1703.06211; with a mask: Zhu et al. 2019,
https://arxiv.org/abs/1811.11168). What lies outside of the picture counts as zero. Pixels and weights of the samples
are the same for all channels of an offset group, so they are worked out once; then each channel is a gather.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.threads import share_out


@dataclass(frozen=True)
class Geometry:
    """The sizes of a convolution, each as (rows, columns)."""

    kernel_hw: tuple[int, int]
    stride_hw: tuple[int, int]
    padding_hw: tuple[int, int]
    dilation_hw: tuple[int, int]
    offset_groups: int

    def output_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the output for an input of ``height`` x ``width``."""
        rows, columns = (
            (length + 2 * padding - dilation * (size - 1) - 1) // stride + 1
            for length, size, stride, padding, dilation in zip(
                (height, width),
                self.kernel_hw,
                self.stride_hw,
                self.padding_hw,
                self.dilation_hw,
                strict=True,
            )
        )
        return rows, columns


@dataclass(frozen=True)
class Samples:
    """Where the samples of one picture lie: G offset groups of T kernel places, P output pixels.

    Attributes:
        pixels: (G, T, P, 4) the pixels around each sample, counted row by row; H * W, a cell of its own behind the
            picture, where there is none: infinity in a pixel reaches only the samples beside it.
        weights: (G, T, P, 4) their weights, 0 where there is none.
        slopes_y, slopes_x: (G, T, P, 4) how fast the weights change along y and x.
    """

    pixels: np.ndarray
    weights: np.ndarray
    slopes_y: np.ndarray
    slopes_x: np.ndarray


def samples_of(offset: np.ndarray, geometry: Geometry, height: int, width: int) -> Samples:
    """Return the samples of a picture of ``height`` x ``width``.

    Args:
        offset: (G * 2 * T, rows, columns), for each place the shift along y, then along x, in pixels.
    """
    rows, columns = offset.shape[1:]
    places = geometry.kernel_hw[0] * geometry.kernel_hw[1]
    groups = geometry.offset_groups
    shifts = offset.reshape(groups * places, 2, rows, columns)
    shape = (groups * places, rows * columns, 4)
    pixels = np.full(shape, height * width, dtype=np.int32)
    weights, slopes_y, slopes_x = np.zeros((3, *shape), dtype=offset.dtype)
    locate = functools.partial(
        _locate,
        shifts,
        geometry.kernel_hw,
        geometry.stride_hw,
        geometry.padding_hw,
        geometry.dilation_hw,
        (height, width),
        pixels,
        weights,
        slopes_y,
        slopes_x,
    )
    share_out(locate, groups * places, torch.get_num_threads())
    full = (groups, places, rows * columns, 4)
    return Samples(*(array.reshape(full) for array in (pixels, weights, slopes_y, slopes_x)))


@kernel
def _locate(
    shifts: np.ndarray,
    kernel_hw: tuple[int, int],
    stride_hw: tuple[int, int],
    padding_hw: tuple[int, int],
    dilation_hw: tuple[int, int],
    size_hw: tuple[int, int],
    pixels: np.ndarray,
    weights: np.ndarray,
    slopes_y: np.ndarray,
    slopes_x: np.ndarray,
    start: int,
    stop: int,
) -> None:
    real = weights.dtype.type
    one = real(1)
    height, width = size_hw
    columns = shifts.shape[3]
    for item in range(start, stop):
        place = item % (kernel_hw[0] * kernel_hw[1])
        step_y = place // kernel_hw[1] * dilation_hw[0] - padding_hw[0]
        step_x = place % kernel_hw[1] * dilation_hw[1] - padding_hw[1]
        for row in range(shifts.shape[2]):
            for column in range(columns):
                y = real(row * stride_hw[0] + step_y) + shifts[item, 0, row, column]
                x = real(column * stride_hw[1] + step_x) + shifts[item, 1, row, column]
                if not (-1 < y < height and -1 < x < width):
                    continue
                top, left = int(np.floor(y)), int(np.floor(x))
                down, across = y - real(top), x - real(left)
                at = row * columns + column
                for corner in range(4):
                    low_y, low_x = corner < 2, corner % 2 == 0
                    corner_y, corner_x = top + corner // 2, left + corner % 2
                    if not (0 <= corner_y < height and 0 <= corner_x < width):
                        continue
                    weight_y = one - down if low_y else down
                    weight_x = one - across if low_x else across
                    pixels[item, at, corner] = corner_y * width + corner_x
                    weights[item, at, corner] = weight_y * weight_x
                    slopes_y[item, at, corner] = -weight_x if low_y else weight_x
                    slopes_x[item, at, corner] = -weight_y if low_x else weight_y


def columns_of(picture: np.ndarray, samples: Samples, mask: np.ndarray | None) -> np.ndarray:
    """Return the samples of a picture (C, H, W) as columns (C * T, P), times the mask (G, T, P) if there is one."""
    channels = picture.shape[0]
    places, outputs = samples.pixels.shape[1:3]
    columns = np.empty((channels, places, outputs), dtype=picture.dtype)
    factors = _factors(samples, mask)
    flat = _with_cell_behind(picture)
    gather = functools.partial(_gather, flat, samples.pixels, samples.weights, *factors, columns)
    share_out(gather, channels, torch.get_num_threads())
    return columns.reshape(channels * places, outputs)


def _with_cell_behind(picture: np.ndarray) -> np.ndarray:
    """Return the channels (C, H, W) as rows of H * W pixels and a zero."""
    return np.pad(picture.reshape(picture.shape[0], -1), ((0, 0), (0, 1)))


def _factors(samples: Samples, mask: np.ndarray | None) -> tuple[np.ndarray, bool]:
    """Return the mask, or something of its type in its place, and whether there is one."""
    if mask is None:
        return np.ones((1, 1, 1), dtype=samples.weights.dtype), False
    return mask.reshape(samples.pixels.shape[:3]), True


@kernel(fast=True)
def _gather(
    picture: np.ndarray,
    pixels: np.ndarray,
    weights: np.ndarray,
    mask: np.ndarray,
    masked: bool,
    columns: np.ndarray,
    start: int,
    stop: int,
) -> None:
    per_group = picture.shape[0] // pixels.shape[0]
    for channel in range(start, stop):
        group = channel // per_group
        plane = picture[channel]
        for place in range(pixels.shape[1]):
            around, shares = pixels[group, place], weights[group, place]
            column = columns[channel, place]
            for at in range(len(column)):
                column[at] = (
                    shares[at, 0] * plane[around[at, 0]]
                    + shares[at, 1] * plane[around[at, 1]]
                    + shares[at, 2] * plane[around[at, 2]]
                    + shares[at, 3] * plane[around[at, 3]]
                )
            if masked:
                factor = mask[group, place]
                for at in range(len(column)):
                    column[at] *= factor[at]


def add_to_picture(
    gradients: np.ndarray, samples: Samples, mask: np.ndarray | None, total: np.ndarray
) -> None:
    """Add the gradients of the columns, (C * T, P), to those of the picture, ``total`` (C, H, W)."""
    channels = total.shape[0]
    places, outputs = samples.pixels.shape[1:3]
    flat = _with_cell_behind(total)
    scatter = functools.partial(
        _scatter,
        gradients.reshape(channels, places, outputs),
        samples.pixels,
        samples.weights,
        *_factors(samples, mask),
        flat,
    )
    share_out(scatter, channels, torch.get_num_threads())
    total[:] = flat[:, :-1].reshape(total.shape)


@kernel
def _scatter(
    gradients: np.ndarray,
    pixels: np.ndarray,
    weights: np.ndarray,
    mask: np.ndarray,
    masked: bool,
    total: np.ndarray,
    start: int,
    stop: int,
) -> None:
    per_group = total.shape[0] // pixels.shape[0]
    for channel in range(start, stop):
        group = channel // per_group
        plane = total[channel]
        for place in range(pixels.shape[1]):
            around, shares = pixels[group, place], weights[group, place]
            for at in range(gradients.shape[2]):
                gradient = gradients[channel, place, at]
                if masked:
                    gradient *= mask[group, place, at]
                plane[around[at, 0]] += shares[at, 0] * gradient
                plane[around[at, 1]] += shares[at, 1] * gradient
                plane[around[at, 2]] += shares[at, 2] * gradient
                plane[around[at, 3]] += shares[at, 3] * gradient


def add_to_offset(
    gradients: np.ndarray,
    picture: np.ndarray,
    samples: Samples,
    mask: np.ndarray | None,
    offset_total: np.ndarray,
    mask_total: np.ndarray | None,
) -> None:
    """Add the gradients of the columns to those of the shifts, (G * 2 * T, ...), and of the mask, (G * T, ...)."""
    channels = picture.shape[0]
    groups, places, outputs = samples.pixels.shape[:3]
    factors, masked = _factors(samples, mask)
    by_mask = np.zeros((1, 1), picture.dtype) if mask_total is None else mask_total
    shift = functools.partial(
        _shift,
        gradients.reshape(channels, places, outputs),
        _with_cell_behind(picture),
        samples.pixels,
        samples.weights,
        samples.slopes_y,
        samples.slopes_x,
        factors,
        masked,
        offset_total.reshape(groups * places, 2, outputs),
        by_mask.reshape(groups * places, outputs) if masked else by_mask,
    )
    share_out(shift, groups * places, torch.get_num_threads())


@kernel(fast=True)
def _shift(
    gradients: np.ndarray,
    picture: np.ndarray,
    pixels: np.ndarray,
    weights: np.ndarray,
    slopes_y: np.ndarray,
    slopes_x: np.ndarray,
    mask: np.ndarray,
    masked: bool,
    offset_total: np.ndarray,
    mask_total: np.ndarray,
    start: int,
    stop: int,
) -> None:
    real = picture.dtype.type
    places = pixels.shape[1]
    per_group = picture.shape[0] // pixels.shape[0]
    for item in range(start, stop):
        group, place = item // places, item % places
        around, shares = pixels[group, place], weights[group, place]
        along_y, along_x = slopes_y[group, place], slopes_x[group, place]
        total_y, total_x = offset_total[item, 0], offset_total[item, 1]
        for channel in range(group * per_group, (group + 1) * per_group):
            plane = picture[channel]
            for at in range(len(total_y)):
                first, second = plane[around[at, 0]], plane[around[at, 1]]
                third, fourth = plane[around[at, 2]], plane[around[at, 3]]
                gradient = gradients[channel, place, at]
                factor = real(1)
                if masked:
                    factor = mask[group, place, at]
                    mask_total[item, at] += gradient * (
                        shares[at, 0] * first
                        + shares[at, 1] * second
                        + shares[at, 2] * third
                        + shares[at, 3] * fourth
                    )
                gradient *= factor
                total_y[at] += gradient * (
                    along_y[at, 0] * first
                    + along_y[at, 1] * second
                    + along_y[at, 2] * third
                    + along_y[at, 3] * fourth
                )
                total_x[at] += gradient * (
                    along_x[at, 0] * first
                    + along_x[at, 1] * second
                    + along_x[at, 2] * third
                    + along_x[at, 3] * fourth
                )
