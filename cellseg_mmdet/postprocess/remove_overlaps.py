"""Give every pixel to one instance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess.parameters import check_number
from cellseg_mmdet.postprocess.pipeline import STEPS
from cellseg_mmdet.predictions import ImagePrediction


@STEPS.register("RemoveOverlaps")
class RemoveOverlaps:
    """Give each pixel that instances share to the highest score (of equal scores, to the first).

    Instances left without a pixel are dropped; the others keep their order. No mask grows.

    Args:
        min_kept_fraction: drop also instances that keep a smaller share of their pixels than this,
            in [0, 1]. The pixels they held are then given to those that remain.
    """

    def __init__(self, min_kept_fraction: float = 0.0) -> None:
        check_number("min_kept_fraction", min_kept_fraction, 0, 1)
        self.min_kept_fraction = min_kept_fraction

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        disjoint = _disjoint(prediction)
        too_little = disjoint.areas < self.min_kept_fraction * prediction.masks.areas
        if too_little.any():
            # With fewer competitors no remaining instance can lose more than before: one repetition
            # is enough.
            prediction = prediction.select(~too_little)
            disjoint = _disjoint(prediction)
        return replace(prediction, masks=disjoint).select(disjoint.areas > 0)


def _disjoint(prediction: ImagePrediction) -> Runs:
    """Return the N masks without the pixels that a better instance has as well."""
    masks = prediction.masks
    order = prediction.by_descending_score()[::-1]
    pixels, rank = masks[order].pixels()
    canvas = np.zeros(masks.height * masks.width, dtype=np.int32)
    # Of the values assigned to one index numpy keeps the last: the highest rank, the best score.
    canvas[pixels] = rank
    kept = canvas[pixels] == rank
    return Runs.from_pixels(pixels[kept], order[rank[kept]], len(masks), masks.height, masks.width)
