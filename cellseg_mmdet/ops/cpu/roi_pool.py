"""RoI pooling (Girshick 2015, https://arxiv.org/abs/1504.08083): the maximum of the whole pixels of each bin.

As mmcv's operator for CUDA; it has none for the CPU. A RoI without width or height gives zeros and no gradient.
"""

from __future__ import annotations

import functools

import numpy as np
from torch import Tensor

from cellseg_mmdet.ops.cpu.rois import by_channel, checked_rois
from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maxima of the bins into ``output`` and their pixels, counted row by row, into ``argmax``.

    Args:
        input: (N, C, H, W).
        rois: (K, 5) as image, x1, y1, x2, y2; the last pixel belongs to the RoI.
        output: (K, C, pooled_height, pooled_width).
        argmax: of the same shape, int32; -1 where a bin has no pixel.
        spatial_scale: pixels of ``input`` a unit of ``rois``.

    Raises:
        ValueError: on RoIs that are not finite or of an image that is not there.
    """
    pixels, boxes = as_array(input), checked_rois("roi_pool", rois, input)
    last = np.array([0, 0, 0, 1, 1], dtype=boxes.dtype)
    edges = (boxes + last)[:, 1:] * boxes.dtype.type(spatial_scale)
    values, places = as_array(output), argmax.numpy()
    places.fill(-1)
    pool = functools.partial(
        _pool, pixels, boxes[:, 0].astype(np.int64), np.ascontiguousarray(edges), values, places
    )
    by_channel(pool, pixels.shape[1], len(boxes))
    give(output, values)


@kernel
def _pool(
    pixels: np.ndarray,
    images: np.ndarray,
    edges: np.ndarray,
    values: np.ndarray,
    places: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    real = values.dtype.type
    length_y, length_x = pixels.shape[2], pixels.shape[3]
    height, width = values.shape[2], values.shape[3]
    for roi in range(len(images)):
        left, top = edges[roi, 0], edges[roi, 1]
        bin_x, bin_y = (edges[roi, 2] - left) / real(width), (edges[roi, 3] - top) / real(height)
        if not (bin_x > 0 and bin_y > 0):
            continue
        for y in range(height):
            first_y = min(max(np.floor(real(y) * bin_y + top), real(0)), real(length_y))
            last_y = min(max(np.ceil(real(y + 1) * bin_y + top), real(0)), real(length_y))
            for x in range(width):
                first_x = min(max(np.floor(real(x) * bin_x + left), real(0)), real(length_x))
                last_x = min(max(np.ceil(real(x + 1) * bin_x + left), real(0)), real(length_x))
                for channel in range(channel_start, channel_stop):
                    plane = pixels[images[roi], channel]
                    best, place = real(0), -1
                    for row in range(int(first_y), int(last_y)):
                        for column in range(int(first_x), int(last_x)):
                            if place < 0 or plane[row, column] > best:
                                best, place = plane[row, column], row * length_x + column
                    values[roi, channel, y, x] = best
                    places[roi, channel, y, x] = place


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of the input to ``grad_input``, (N, C, H, W); the other arguments are the forward pass's."""
    gradients, total = as_array(grad_output), as_array(grad_input)
    boxes = checked_rois("roi_pool", rois, grad_input)
    images = boxes[:, 0].astype(np.int64)
    spread = functools.partial(_spread, gradients, images, argmax.contiguous().numpy(), total)
    by_channel(spread, total.shape[1], len(boxes))
    give(grad_input, total)


@kernel
def _spread(
    gradients: np.ndarray,
    images: np.ndarray,
    places: np.ndarray,
    total: np.ndarray,
    channel_start: int,
    channel_stop: int,
) -> None:
    width = total.shape[3]
    for channel in range(channel_start, channel_stop):
        for roi in range(len(images)):
            for y in range(places.shape[2]):
                for x in range(places.shape[3]):
                    place = places[roi, channel, y, x]
                    if place >= 0:
                        row, column = place // width, place % width
                        total[images[roi], channel, row, column] += gradients[roi, channel, y, x]
