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

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, MetricOptions
from cellseg_mmdet.masks import Runs, pairwise_iou
from cellseg_mmdet.predictions import ImagePrediction

# Quotients of integers, as IoUs are: an IoU of exactly 11/20 is the same double as the threshold
# 0.55, and no hit.
IOU_THRESHOLDS = np.arange(10, 20) / 20


def image_score(predicted: Runs, true: Runs) -> float:
    """Return the score in [0, 1] of one image, the mean over `IOU_THRESHOLDS`.

    Raises:
        ValueError: if the masks are of different image sizes.
    """
    hits = count_hits(pairwise_iou(predicted, true))
    return float(np.mean(hit_ratio(hits, len(predicted), len(true))))


def hit_ratio(hits: np.ndarray, num_predicted: int, num_true: int) -> np.ndarray:
    """Return TP / (TP + FP + FN) of TP = ``hits`` (T,); 1 if nothing is there and is predicted."""
    total = num_predicted + num_true - hits
    return np.where(total > 0, hits / np.maximum(total, 1), 1.0)


def count_hits(iou: np.ndarray, thresholds: np.ndarray = IOU_THRESHOLDS) -> np.ndarray:
    """Return per threshold (T,) how many pairs of an IoU matrix (N, M) are hits, one to one."""
    rows, columns = np.nonzero(iou > thresholds.min())
    values = iou[rows, columns]
    if _all_different(rows) and _all_different(columns):
        return (values[:, None] > thresholds).sum(axis=0)
    return np.array(
        [
            _matching_size(rows[values > thr], columns[values > thr], iou.shape)
            for thr in thresholds
        ],
        dtype=np.int64,
    )


def mean_per_cell_type(
    scores: Sequence[float], cell_types: Sequence[str | None], name: str = "kaggle_map"
) -> dict[str, float]:
    """Return the mean over all images, and ``<name>_<cell type>`` over those of each known type.

    Without any image the mean is nan.
    """
    means = {name: float(np.mean(scores)) if len(scores) else float("nan")}
    for cell_type in sorted({cell_type for cell_type in cell_types if cell_type is not None}):
        of_type = [
            score for score, other in zip(scores, cell_types, strict=True) if other == cell_type
        ]
        means[f"{name}_{cell_type}"] = float(np.mean(of_type))
    return means


@IMAGE_METRICS.register("kaggle_map")
class KaggleMap:
    """Mean of `image_score` over all images, and over those of each cell type."""

    on_raw = False

    def __init__(self, options: MetricOptions) -> None:
        """Take no options: the competition has one class and no settings."""

    def measure(self, prediction: ImagePrediction, record: ImageRecord) -> float:
        return image_score(prediction.masks, record.masks)

    def summarise(
        self, measured: Sequence[float], cell_types: Sequence[str | None]
    ) -> dict[str, float]:
        return mean_per_cell_type(measured, cell_types)


def _all_different(values: np.ndarray) -> bool:
    return len(np.unique(values)) == len(values)


def _matching_size(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> int:
    if _all_different(rows) and _all_different(columns):
        return len(rows)
    graph = csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
