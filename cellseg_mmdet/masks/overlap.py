"""Overlap between two sets of masks of one image."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from cellseg_mmdet.masks.runs import Runs


def pairwise_iou(first: Runs, second: Runs) -> np.ndarray:
    """Return the intersection over union (N, M) float64 in [0, 1] of every pair; 0 where both masks are empty.

    Raises:
        ValueError: if the two are of different image sizes.
    """
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(
            f"masks of different image sizes: {first.height} x {first.width} and {second.height} x {second.width}"
        )
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    iou = coco_mask.iou(first.to_coco(), second.to_coco(), np.zeros(len(second), dtype=np.uint8))
    return np.nan_to_num(iou)
