"""Aggregated Jaccard index, as published and with one-to-one pairs; means over images.

AJI: N. Kumar, R. Verma, S. Sharma, S. Bhargava, A. Vahadane, A. Sethi, "A Dataset and a Technique
    for Generalized Nuclear Segmentation for Computational Pathology", IEEE Transactions on Medical
    Imaging 36(7), 2017, algorithm 1. Each true cell is paired with the predicted one of the highest
    IoU. AJI is the sum of the intersections of the pairs over the sum of their unions, to which the
    pixels of all cells in no pair are added, predicted and true. A predicted cell may be in several
    pairs, and is then counted in each union: the price of merging cells.
AJI+: S. Graham, Q. D. Vu, S. E. A. Raza, A. Azam, Y. W. Tsang, J. T. Kwak, N. Rajpoot, "HoVer-Net:
    Simultaneous segmentation and classification of nuclei in multi-tissue histology images",
    Medical Image Analysis 58, 2019. The same with one-to-one pairs, those with the greatest sum of
    IoUs (any, should there be several such sets).
Range: [0, 1], 1 is perfect.

Both are of one image, and averaged over images as in the papers' tables. An image without a pixel
of any cell, true or predicted, scores 1; one with pixels of either alone 0. Of two predicted cells
with the same highest IoU the first is taken, as in the paper's program.
"""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.evaluation.image_metric import mean_over_images
from cellseg_mmdet.evaluation.overlaps import Overlaps, Pairs


@mean_over_images("aji", "AJI", "aggregated Jaccard index", rank=30)
def aji(overlaps: Overlaps) -> float:
    """Return the AJI in [0, 1] of one image."""
    pairs = overlaps.pairs
    # By true cell, of one cell by falling IoU, and equal ones by predicted cell: the first of each.
    order = np.lexsort((pairs.predicted, -pairs.iou, pairs.true))
    _, first = np.unique(pairs.true[order], return_index=True)
    return _aggregate(overlaps, pairs.select(order[first]))


@mean_over_images("aji_plus", "AJI+", "the same, one to one", rank=40)
def aji_plus(overlaps: Overlaps) -> float:
    """Return the AJI+ in [0, 1] of one image."""
    return _aggregate(overlaps, overlaps.pairs.best_one_to_one())


def _aggregate(overlaps: Overlaps, chosen: Pairs) -> float:
    unpaired = np.delete(overlaps.predicted.areas, chosen.predicted).sum()
    unpaired += np.delete(overlaps.true.areas, chosen.true).sum()
    union = chosen.union.sum() + unpaired
    return float(chosen.intersection.sum() / union) if union else 1.0
