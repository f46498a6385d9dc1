"""Overlap between two sets of masks of one image."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from cellseg_mmdet.masks.ragged import ragged_arange, segment_ids
from cellseg_mmdet.masks.runs import Runs

# Pairs of runs to look at, about 1 GB of temporaries. Cells are far below; masks of half an image each are not.
_MAX_RUN_PAIRS = 20_000_000


def pairwise_intersection(first: Runs, second: Runs) -> np.ndarray:
    """Return the number of shared pixels (N, M) float64 of every pair.

    Raises:
        ValueError: if the two are of different image sizes.

    Example:
        >>> first = Runs.from_label_map(np.array([[1, 1, 2]]))
        >>> second = Runs.from_label_map(np.array([[0, 1, 1]]))
        >>> pairwise_intersection(first, second)
        array([[1.],
               [1.]])
    """
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(
            f"masks of different image sizes: {first.height} x {first.width} "
            f"and {second.height} x {second.width}"
        )
    shape = len(first), len(second)
    if not len(first.starts) or not len(second.starts):
        return np.zeros(shape)

    by_start = np.argsort(second.starts, kind="stable")
    starts, owners = second.starts[by_start], segment_ids(second.offsets)[by_start]
    ends = starts + second.lengths[by_start]
    # Runs that can meet a run of `first`: the first one that reaches its start up to the last that begins before its
    # end. Ends are not sorted, as instances may overlap, but their running maximum is.
    begin = np.searchsorted(np.maximum.accumulate(ends), first.starts, side="right")
    num_candidates = (
        np.searchsorted(starts, first.starts + first.lengths, side="left") - begin
    ).clip(min=0)
    if num_candidates.sum() > _MAX_RUN_PAIRS:
        return _intersection_by_pycocotools(first, second)
    mine = np.repeat(np.arange(len(first.starts)), num_candidates)
    theirs = ragged_arange(begin, num_candidates)
    shared = np.minimum((first.starts + first.lengths)[mine], ends[theirs])
    shared -= np.maximum(first.starts[mine], starts[theirs])
    pair = segment_ids(first.offsets)[mine] * len(second) + owners[theirs]
    total = np.bincount(pair, weights=shared.clip(min=0), minlength=len(first) * len(second))
    return total.astype(np.float64, copy=False).reshape(shape)  # numpy counts nothing in integers


def pairwise_iou(first: Runs, second: Runs) -> np.ndarray:
    """Return the intersection over union (N, M) float64 in [0, 1] of every pair; 0 where both are empty.

    Raises:
        ValueError: if the two are of different image sizes.

    Example:
        >>> first = Runs.from_label_map(np.array([[1, 1, 2]]))
        >>> second = Runs.from_label_map(np.array([[0, 1, 1]]))
        >>> pairwise_iou(first, second).round(2)
        array([[0.33],
               [0.5 ]])
    """
    intersection = pairwise_intersection(first, second)
    union = first.areas[:, None] + second.areas[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _intersection_by_pycocotools(first: Runs, second: Runs) -> np.ndarray:
    # With "crowd" truth, pycocotools gives intersection over the area of the detection, here the first.
    crowd = np.ones(len(second), dtype=np.uint8)
    share = np.nan_to_num(coco_mask.iou(first.to_coco(), second.to_coco(), crowd))
    return np.rint(share * first.areas[:, None])
