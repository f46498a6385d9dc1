"""Panoptic quality of the cells: how many are found, and how well those are outlined.

Definition: A. Kirillov, K. He, R. Girshick, C. Rother, P. Dollar, "Panoptic Segmentation", CVPR
    2019, section 4. A predicted and a true cell whose IoU is greater than 0.5 are a hit, and

        SQ = (sum of the IoUs of the hits) / TP         segmentation quality
        RQ = TP / (TP + FP / 2 + FN / 2)                recognition quality, the F1 at IoU 0.5
        PQ = SQ * RQ

    with the sums taken over all images, not image by image, so that an image with many cells counts
    more. (Some papers on nuclei average the PQ of images instead.) Cells are one class here.
Range: [0, 1], 1 is perfect.

What the paper leaves open:

- If no image has a cell, true or predicted, all three are 1. Otherwise SQ is 0 without a hit, as in
  the paper's own program.
- The paper forbids overlaps, and then a cell is part of one such pair at most. Where masks do
  overlap, hits are the one-to-one pairs with the greatest sum of IoUs: those of the highest PQ.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImagePair, MetricOptions, ScoreText
from cellseg_mmdet.evaluation.overlaps import Overlaps

IOU_THR = 0.5


class PanopticSums(NamedTuple):
    """What panoptic quality is made of, for one image or many.

    Attributes:
        iou: sum of the IoUs of the hits.
        hits: true positives.
        found: predicted cells.
        true: cells that are there.
    """

    iou: float
    hits: int
    found: int
    true: int


def panoptic_sums(overlaps: Overlaps) -> PanopticSums:
    """Return the sums of one image."""
    pairs = overlaps.pairs
    hits = pairs.select(pairs.iou > IOU_THR).best_one_to_one()
    return PanopticSums(
        float(hits.iou.sum()), len(hits), len(overlaps.predicted), len(overlaps.true)
    )


@IMAGE_METRICS.register("pq")
class PanopticQuality:
    """``pq``, ``sq`` and ``rq`` of all cells of all images."""

    on_raw, needs_scores = False, False
    rank = 20
    texts = MappingProxyType(
        {
            "pq": ScoreText("Panoptic quality", "detection times segmentation"),
            "sq": ScoreText("Segmentation quality", "mean IoU of the hits"),
        }
    )

    def __init__(self, options: MetricOptions) -> None:
        """Take no options: the threshold is part of the definition."""

    def measure(self, pair: ImagePair) -> PanopticSums:
        return panoptic_sums(pair.overlaps)

    def summarise(self, measured: Sequence[PanopticSums]) -> dict[str, float]:
        iou, hits, found, true = (sum(image[i] for image in measured) for i in range(4))
        if not found and not true:
            return {"pq": 1.0, "sq": 1.0, "rq": 1.0}
        sq = iou / hits if hits else 0.0
        rq = 2 * hits / (found + true)  # TP + FP and TP + FN, halved
        return {"pq": sq * rq, "sq": sq, "rq": rq}
