"""Probabilities in the coordinates of boxes: cutting them out of an image, averaging those of several boxes, pasting.

The values of a box are the probabilities at the centres of its rows x columns of bins; between them they are
interpolated, and beyond they fade to 0 within half a bin: mmdet's ``align_corners=False``. Each axis is a small matrix
then, and a mask is resampled by two products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.masks.ragged import ragged_arange
from cellseg_mmdet.masks.roi_sampling import box_sizes, normalised

_X, _Y = 0, 1  # axes: the first side of a box, the second one is 2 further
# A box without extent has no pixels, and is no division by zero.
_LEAST_SIDE_PX = 1e-6


def probabilities(soft_masks: np.ndarray) -> np.ndarray:
    """Return float soft masks, or uint8 ones as round(255 p), as float32 in [0, 1]."""
    if soft_masks.dtype == np.uint8:
        return soft_masks / np.float32(255)
    return soft_masks.astype(np.float32, copy=False)


def resample(
    soft_masks: np.ndarray, boxes: np.ndarray, new_boxes: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return soft masks in the coordinates of other boxes, (N, *shape) float32 in [0, 1]; 0 outside of their own.

    Args:
        soft_masks: (N, rows, columns), float in [0, 1] or uint8 as round(255 p).
        boxes: (N, 4) xyxy, the boxes of ``soft_masks``.
        new_boxes: (N, 4) xyxy.
        shape: (rows, columns) of the result.
    """
    values = probabilities(soft_masks)
    rows = _bin_weights(_centers(new_boxes, shape[0], _Y), boxes, values.shape[1], _Y)
    columns = _bin_weights(_centers(new_boxes, shape[1], _X), boxes, values.shape[2], _X)
    return rows @ values @ columns.transpose(0, 2, 1)


def cut_soft_masks(
    foreground: np.ndarray, label_map: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return the probabilities of an image's N instances in their boxes, (N, *shape) float32 in [0, 1].

    They are averaged over the bins as RoIAlign does it for the targets that mask heads learn. In the pixels of an
    instance all others are 0.

    Args:
        foreground: (H, W) float in [0, 1], probability of being of any instance.
        label_map: (H, W) int, 0 for background, and the instances from 1 on.
        boxes: (N, 4) int xyxy in pixels, ends exclusive; that of instance i is ``boxes[i - 1]``.
        shape: (rows, columns) of bins.

    Example:
        >>> label_map = np.array([[0, 1, 1, 0], [0, 1, 1, 0]])
        >>> box = np.array([[1, 0, 3, 2]])
        >>> cut_soft_masks(np.full((2, 4), 0.5), label_map, box, (2, 2)).tolist()
        [[[0.5, 0.5], [0.5, 0.5]]]
    """
    height, width = label_map.shape
    # The outer bins reach half a pixel out of the box.
    regions = (boxes + np.array([-1, -1, 1, 1])).clip(0, [width, height, width, height])
    background = np.where(label_map == 0, foreground, 0)
    bitmaps = [np.zeros(0, dtype=np.float32)]
    for label, (x1, y1, x2, y2) in enumerate(regions.tolist(), start=1):
        window = np.s_[y1:y2, x1:x2]
        bitmap = np.where(label_map[window] == label, foreground[window], background[window])
        bitmaps.append(bitmap.T.ravel())  # column by column, as `RoIMasks` are stored
    masks = RoIMasks(regions, np.concatenate(bitmaps), height, width)
    return masks.crop_and_resize(boxes, shape, np.arange(len(boxes)), binarize=False).to_ndarray()


def average_soft_masks(
    soft_masks: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    members: np.ndarray,
    weights: np.ndarray,
    fused_boxes: np.ndarray,
) -> np.ndarray:
    """Return the weighted mean of the members' soft masks on each fused box, (K, rows, columns) float32 in [0, 1].

    Args:
        soft_masks: of each of S sources (N_s, rows, columns), float in [0, 1] or uint8 as round(255 p). The result has
            the most rows and columns of any.
        boxes: of each source (N_s, 4) xyxy.
        members: (K, S) int, which one of a source's contributes, -1 where none; at least one each.
        weights: (K, S) positive weight of each member, 0 where there is none.
        fused_boxes: (K, 4) xyxy.

    Example:
        >>> box = np.array([[0.0, 0.0, 4.0, 4.0]])
        >>> low, high = np.full((1, 2, 2), 0.2), np.full((1, 2, 2), 0.8)
        >>> members, weights = np.array([[0, 0]]), np.array([[1.0, 1.0]])
        >>> average_soft_masks([low, high], [box, box], members, weights, box).round(2).tolist()
        [[[0.5, 0.5], [0.5, 0.5]]]
    """
    shape = tuple(max(values.shape[side] for values in soft_masks) for side in (1, 2))
    mean = np.zeros((len(members), *shape), dtype=np.float32)
    shares = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    for source, (values, own_boxes) in enumerate(zip(soft_masks, boxes, strict=True)):
        rows = np.flatnonzero(members[:, source] >= 0)
        chosen = members[rows, source]
        moved = resample(values[chosen], own_boxes[chosen], fused_boxes[rows], shape)
        mean[rows] += shares[rows, source, None, None] * moved
    return mean


def paste_soft_masks(
    soft_masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float = 0.5
) -> Runs:
    """Resize each soft mask to its box in the image and threshold it, as mmdet's ``FCNMaskHead`` does.

    Args:
        soft_masks: (N, rows, columns), float in [0, 1] or uint8 as round(255 p).
        boxes: (N, 4) xyxy in pixels; they may reach out of the image.
        height: of the image in pixels.
        width: of the image in pixels.
        threshold: least probability of foreground, positive.

    Example:
        >>> box = np.array([[1.0, 0.0, 3.0, 2.0]])
        >>> paste_soft_masks(np.ones((1, 28, 28)), box, 2, 4).to_label_map()
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]], dtype=int32)
    """
    values = probabilities(soft_masks)
    # mmdet looks at one pixel more on each side.
    regions = np.concatenate([np.floor(boxes[:, :2]) - 1, np.ceil(boxes[:, 2:]) + 1], axis=1)
    regions = normalised(regions.clip(0, [width, height, width, height]).astype(np.int64))
    columns = _pixel_weights(regions, boxes, values.shape[2], _X)
    rows = _pixel_weights(regions, boxes, values.shape[1], _Y)
    # Column by column, as `RoIMasks` are stored.
    bitmaps = [
        (x @ value.T @ y.T >= threshold).ravel()
        for x, value, y in zip(columns, values, rows, strict=True)
    ]
    flat = np.concatenate([np.zeros(0, dtype=bool), *bitmaps]).view(np.uint8)
    return RoIMasks(regions, flat, height, width).to_runs()


def _pixel_weights(
    regions: np.ndarray, boxes: np.ndarray, num_bins: int, axis: int
) -> list[np.ndarray]:
    """Return what each bin of a box weighs in the pixels of its region along an axis, (pixels, num_bins) of each."""
    lengths = box_sizes(regions)[axis]
    centers = ragged_arange(regions[:, axis], lengths) + 0.5
    weights = _bin_weights(centers[:, None], np.repeat(boxes, lengths, axis=0), num_bins, axis)
    return np.split(weights[:, 0], np.cumsum(lengths))[:-1]


def _centers(boxes: np.ndarray, num_bins: int, axis: int) -> np.ndarray:
    """Return the centres (N, num_bins) of the bins of boxes (N, 4) along an axis."""
    low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
    return low + (np.arange(num_bins) + 0.5) / num_bins * (high - low)


def _bin_weights(at: np.ndarray, boxes: np.ndarray, num_bins: int, axis: int) -> np.ndarray:
    """Return what each bin of a box weighs at positions in it.

    Args:
        at: (N, P) positions along the axis.
        boxes: (N, 4) xyxy.
        num_bins: along the axis.
        axis: `_X` or `_Y`.

    Returns:
        (N, P, num_bins) float32.
    """
    low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
    bins = (at - low) / np.maximum(high - low, _LEAST_SIDE_PX) * num_bins - 0.5
    return (1 - np.abs(bins[..., None] - np.arange(num_bins))).clip(min=0).astype(np.float32)
