"""Regions of interest: what is checked of them, and where bilinear samples of a bin fall on one axis.

A bilinear sample is a product of a row weight and a column weight, and so is the mean over a regular grid of samples:
each bin is (row weights) x pixels x (column weights), with few weights on each axis ("taps"). Samples at
``-1 <= y <= height`` count, those further out are 0, and what lies between the border and the outermost pixel's
centre takes the outermost pixel (as in mmcv and detectron2).
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from cellseg_mmdet.ops.kernels import kernel

# A bin with more samples than this on one axis is first narrowed to those that can lie inside.
MANY_SAMPLES = 256


def check_rois(
    operator: str, rois: np.ndarray, num_images: int, scale: np.floating, sizes_from: float | None
) -> None:
    """Refuse regions that name no image, or whose corners are no numbers.

    Args:
        operator: its name, for the message.
        rois: (K, 5) index of the image and xyxy in pixels of the image.
        num_images: N of the feature map.
        scale: pixels of the map per pixel of the image, of the type of ``rois``.
        sizes_from: widths and heights below this are refused too, in pixels of the map; None allows any.

    Raises:
        ValueError: names the row of the region, its values, and what is allowed.
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(
            f"{operator}: rois have shape {rois.shape}, not (K, 5) (image, x1, y1, x2, y2)"
        )
    with np.errstate(all="ignore"):
        corners = rois[:, 1:] * scale
        sizes = corners[:, 2:] - corners[:, :2]
    finite = np.isfinite(corners).all(axis=1) & np.isfinite(sizes).all(axis=1)
    images = np.trunc(rois[:, 0])
    known = (images >= 0) & (images < num_images)  # False for NaN
    problems = [
        (~finite, "its corners must be finite numbers, x1 y1 x2 y2 in pixels"),
        (~known, f"the first number is the image's, from 0 to {num_images - 1}"),
    ]
    if sizes_from is not None:
        small = (sizes < sizes_from).any(axis=1)
        problems.append((small, "x2 must not be less than x1, nor y2 less than y1"))
    for wrong, allowed in problems:
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"{operator}: RoI {row} is {rois[row].tolist()}; {allowed}")


def check_shape(operator: str, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape: a kernel would read or write beyond its end.

    Raises:
        ValueError: names the operator, the argument, its shape, and the right one.
    """
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{operator}: {name} has shape {tuple(tensor.shape)}, not {shape}")


def touched_at_most(
    rois: np.ndarray, scale: np.floating, bins: int, ratio: int, low: int, size: int
) -> int:
    """Return how many rows or columns of a map of ``size`` a region's samples can touch at the most.

    ``low`` is the column of the lower corner in ``rois``: 1 for x, 2 for y.
    """
    if ratio > 0:
        return min(size, 2 * bins * ratio)
    length = float((np.abs(rois[:, low + 2] - rois[:, low]) * scale).max(initial=1))
    return int(min(size, math.ceil(length) + 4))


@kernel
def divide(
    low: float, high: float, scale: float, aligned: bool, bins: int, ratio: int
) -> tuple[float, float, float]:
    """Return where a region begins on one axis, the length of a bin, and the number of samples in a bin.

    All three are of the type of ``low``: the number of samples is rounded up from a length, so it has to be
    calculated in the precision of the compiled operators. A region that is not ``aligned`` is at least 1 long.
    """
    real = type(low)
    shift = real(0.5) if aligned else real(0)
    start = low * scale - shift
    length = (high * scale - shift) - start
    if not aligned and length < real(1):
        length = real(1)
    bin_length = length / real(bins)
    samples = (
        real(ratio) if ratio > 0 else real(max(np.ceil(np.float32(bin_length)), np.float32(0)))
    )
    return start, bin_length, samples


@kernel
def samples_inside(
    bin_start: float, bin_length: float, samples: float, size: int
) -> tuple[float, int]:
    """Return the first sample of a bin to look at, and how many from there on.

    All of them as a rule. Of very many, those that can lie inside: a region of a billion pixels costs no more
    than one that covers the map. None where the bin begins at NaN or infinity.
    """
    if not np.isfinite(bin_start):
        return 0.0, 0
    if samples <= MANY_SAMPLES or bin_length == 0:
        return 0.0, int(samples)
    step = abs(float(bin_length)) / samples
    ahead = -1.0 - bin_start if bin_length > 0 else bin_start - size
    first = min(max(np.floor(ahead / step) - 2.0, 0.0), float(samples))
    return first, int(min(float(samples) - first, np.ceil((size + 1.0) / step) + 4.0))


@kernel
def sample_at(bin_start: float, bin_length: float, samples: float, number: float) -> float:
    """Return the coordinate of a sample, in the order of operations of the compiled operators."""
    real = type(bin_start)
    return bin_start + real(number + 0.5) * bin_length / samples


@kernel
def neighbours(at: float, size: int) -> tuple[int, int, float, float]:
    """Return the pixel below a coordinate, the one above, the latter's weight, and that weight's slope.

    Both are the same pixel at the borders. The coordinate lies in -1 ... ``size``.
    """
    real = type(at)
    slope = real(1)
    if at <= 0:
        at, slope = real(0), real(0)
    low = int(at)
    if low >= size - 1:
        return size - 1, size - 1, real(0), real(0)
    return low, low + 1, at - real(low), slope


@kernel
def taps_of_bin(
    bin_start: float,
    bin_length: float,
    samples: float,
    size: int,
    pixels: np.ndarray,
    weights: np.ndarray,
    slopes: np.ndarray,
) -> int:
    """Write which pixels of an axis a bin takes, with what weight, and the weight's slope along the axis.

    Returns:
        The number of taps, at most ``size``, by ascending pixel. The weights sum up to the share of samples inside.
    """
    count = 0
    first, number = samples_inside(bin_start, bin_length, samples, size)
    for step in range(number):
        # In ascending order of coordinates, so that a pixel met before is one of the last two.
        turn = step if bin_length >= 0 else number - 1 - step
        at = sample_at(bin_start, bin_length, samples, first + turn)
        if not (at >= -1 and at <= size):
            continue
        low, high, part, slope = neighbours(at, size)
        count = _add_tap(pixels, weights, slopes, count, low, type(at)(1) - part, -slope)
        count = _add_tap(pixels, weights, slopes, count, high, part, slope)
    for tap in range(count):
        weights[tap] /= samples
        slopes[tap] /= samples
    return count


@kernel
def _add_tap(
    pixels: np.ndarray,
    weights: np.ndarray,
    slopes: np.ndarray,
    count: int,
    pixel: int,
    weight: float,
    slope: float,
) -> int:
    for tap in range(max(count - 2, 0), count):
        if pixels[tap] == pixel:
            weights[tap] += weight
            slopes[tap] += slope
            return count
    pixels[count], weights[count], slopes[count] = pixel, weight, slope
    return count + 1
