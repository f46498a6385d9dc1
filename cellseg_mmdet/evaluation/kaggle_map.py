"""The competition metric of Sartorius and of the 2018 Data Science Bowl.

For one image and one threshold t, a predicted and a true cell whose IoU is greater than t are a
hit, and the score is TP / (TP + FP + FN). It is averaged over t = 0.50, 0.55, ..., 0.95, then over
the images. Classes play no part.
Source: the evaluation pages of both competitions,
    https://www.kaggle.com/competitions/sartorius-cell-instance-segmentation
and https://www.kaggle.com/competitions/data-science-bowl-2018. (They call the ratio precision; it
is the Jaccard index of the sets of cells, and neither the precision of statistics nor COCO's AP.)

The pages leave two cases open, and this is how they are decided here:

- An image without true cells scores 1 if nothing is predicted and 0 otherwise; so does one without
  predictions if there are true cells (0, by the formula).
- Each cell takes part in one hit at most. Where neither predictions nor true cells overlap, an IoU
  above 0.5 can only occur once per cell, and that is all. Where they do (Sartorius' own annotations
  overlap here and there), TP is the size of the largest one-to-one matching, which depends on no
  order.
"""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.evaluation.image_metric import mean_over_images
from cellseg_mmdet.evaluation.overlaps import Overlaps, Pairs

# Quotients of integers, as IoUs are: an IoU of exactly 11/20 is the same double as the threshold
# 0.55, and no hit.
IOU_THRESHOLDS = np.arange(10, 20) / 20


@mean_over_images(
    "kaggle_map", "Competition mAP", "mean over IoU 0.50 to 0.95 of TP / (TP + FP + FN)", rank=10
)
def image_score(overlaps: Overlaps) -> float:
    """Return the score in [0, 1] of one image, the mean over `IOU_THRESHOLDS`.

    Raises:
        ValueError: if the masks are of different image sizes.
    """
    hits = count_hits(overlaps.pairs)
    total = len(overlaps.predicted) + len(overlaps.true) - hits
    return float(np.mean(np.where(total > 0, hits / np.maximum(total, 1), 1.0)))


def count_hits(pairs: Pairs) -> np.ndarray:
    """Return for each of `IOU_THRESHOLDS` how many pairs are hits, one to one, (10,) int64."""
    close = pairs.select(pairs.iou > IOU_THRESHOLDS[0])
    if close.is_one_to_one:
        return (close.iou[:, None] > IOU_THRESHOLDS).sum(axis=0)
    return np.array(
        [close.select(close.iou > iou_thr).one_to_one_count() for iou_thr in IOU_THRESHOLDS]
    )
