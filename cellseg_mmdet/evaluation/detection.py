"""How many cells are found, at each IoU threshold; and how far their number is off.

Definition: a hit is what it is to `kaggle_map`, one to one with an IoU greater than t, and

        precision = TP / (TP + FP)      of what is predicted, how much is there
        recall = TP / (TP + FN)         of what is there, how much is predicted
        f1 = 2 TP / (2 TP + FP + FN)    their harmonic mean

    for t = 0.50, 0.55, ..., 0.95, with the sums taken over all images, as StarDist and others report
    them: U. Schmidt, M. Weigert, C. Broaddus, G. Myers, "Cell Detection with Star-convex Polygons",
    MICCAI 2018.
Range: [0, 1], 1 is perfect. If no image has a cell, true or predicted, all are 1; otherwise a ratio
    without a denominator is 0.

Count error: the mean over images of |predicted - true| in cells, from 0, and its signed companion:
    H. Scharr et al., "Leaf segmentation in plant phenotyping: a collation study", Machine Vision and
    Applications 27, 2016 (there |DiC| and DiC).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImagePair, MetricOptions, ScoreText
from cellseg_mmdet.evaluation.kaggle_map import IOU_THRESHOLDS, count_hits

IOU_PERCENT = tuple(round(100 * iou_thr) for iou_thr in IOU_THRESHOLDS.tolist())


class DetectionCounts(NamedTuple):
    """Cells of one image.

    Attributes:
        found: predicted cells.
        true: cells that are there.
        hits: true positives at each IoU threshold, (10,).
    """

    found: int
    true: int
    hits: tuple[int, ...]


@IMAGE_METRICS.register("f1")
class F1:
    """``f1_50``, ``precision_50``, ``recall_50``, ``f1_55``, ..., ``recall_95``, the IoU in percent."""

    on_raw, needs_scores = False, False
    rank = 80
    texts = MappingProxyType(
        {
            "f1_50": ScoreText("F1 at IoU 0.5", "2 TP / (2 TP + FP + FN)"),
            "precision_50": ScoreText("Precision at IoU 0.5", "TP / (TP + FP)"),
            "recall_50": ScoreText("Recall at IoU 0.5", "TP / (TP + FN)"),
        }
    )

    def __init__(self, options: MetricOptions) -> None:
        """Take no options: all thresholds are reported."""

    def measure(self, pair: ImagePair) -> DetectionCounts:
        overlaps = pair.overlaps
        hits = tuple(count_hits(overlaps.pairs).tolist())
        return DetectionCounts(len(overlaps.predicted), len(overlaps.true), hits)

    def summarise(self, measured: Sequence[DetectionCounts]) -> dict[str, float]:
        found = sum(image.found for image in measured)
        true = sum(image.true for image in measured)
        numbers: dict[str, float] = {}
        undefined = 0.0 if found or true else 1.0
        for index, percent in enumerate(IOU_PERCENT):
            hits = sum(image.hits[index] for image in measured)
            numbers[f"f1_{percent}"] = 2 * hits / (found + true) if found or true else undefined
            numbers[f"precision_{percent}"] = hits / found if found else undefined
            numbers[f"recall_{percent}"] = hits / true if true else undefined
        return numbers


@IMAGE_METRICS.register("count_error")
class CountError:
    """``count_error``, by how many cells an image is off, and ``count_bias``, by how many too many."""

    on_raw, needs_scores = False, False
    rank = 70
    texts = MappingProxyType(
        {
            "count_error": ScoreText("Count error", "cells an image is off"),
            "count_bias": ScoreText("Count bias", "cells too many"),
        }
    )

    def __init__(self, options: MetricOptions) -> None:
        """Take no options: there is nothing to choose."""

    def measure(self, pair: ImagePair) -> int:
        return len(pair.prediction) - len(pair.record.masks)

    def summarise(self, measured: Sequence[int]) -> dict[str, float]:
        if not measured:
            return {"count_error": float("nan"), "count_bias": float("nan")}
        return {
            "count_error": float(np.mean(np.abs(measured))),
            "count_bias": float(np.mean(measured)),
        }
