"""What became of each true and each predicted cell: found, missed, extra, split or merged.

A cell lies mainly in another one if the two share more than half of its pixels. With I(t, p) the pixels that a true
cell t and a predicted cell p share:

hit     t and p are one of the one-to-one pairs with the greatest sum of IoUs, and theirs is above 0.5. (Where masks of
        one kind do not overlap, these are the true positives of the competition's metric at 0.5.)
split   two or more predicted cells lie mainly in one true cell t, and together share more than half of t: such
        predicted cells, and t. (Hoover's over-segmentation.)
merged  two or more true cells lie mainly in one predicted cell p, and together share more than half of p: such true
        cells, and p. (Hoover's under-segmentation.)
missed  any other true cell.
extra   any other predicted cell.

A cell is the first of these that it meets. So a cell drawn far too small or too large is missed, and what was drawn
is extra, as it is to the metric; and a small piece beside a predicted cell that is a hit is a split.
A. Hoover et al., "An Experimental Comparison of Range Image Segmentation Algorithms", IEEE TPAMI 18(7), 1996, with
its tolerance at one half; that hits come first is ours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cellseg_mmdet.evaluation.kaggle_map import IOU_THRESHOLDS
from cellseg_mmdet.evaluation.overlaps import Overlaps, Pairs

Outcome = Literal["hit", "missed", "extra", "split", "merged"]
# In the order of their counts.
OUTCOMES: tuple[str, ...] = get_args(Outcome)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of the cells of one image.

    Attributes:
        true: (N,) of str, one of 'hit', 'missed', 'split', 'merged' for each true cell.
        predicted: (M,) of str, one of 'hit', 'extra', 'split', 'merged' for each predicted cell.
        iou: (M,) float in [0, 1], of each predicted cell with its partner in those pairs; 0 without one.
    """

    true: np.ndarray
    predicted: np.ndarray
    iou: np.ndarray

    def counts(self) -> dict[str, int]:
        """Return how many cells are what: true cells, and for 'extra' predicted ones."""
        counted = Counter(self.true.tolist()) | {"extra": int((self.predicted == "extra").sum())}
        return {outcome: counted.get(outcome, 0) for outcome in OUTCOMES}


def find_outcomes(overlaps: Overlaps) -> Outcomes:
    """Sort the true and the predicted cells of an image; what the outcomes mean is defined above."""
    pairs, num_true, num_predicted = overlaps.pairs, len(overlaps.true), len(overlaps.predicted)
    true_areas, predicted_areas = overlaps.true.areas, overlaps.predicted.areas
    # Quotients and products by two of integers: exact.
    in_true = 2 * pairs.intersection > predicted_areas[pairs.predicted]
    in_predicted = 2 * pairs.intersection > true_areas[pairs.true]
    split = _many_in_one(pairs, in_true, pairs.true, true_areas)
    merged = _many_in_one(pairs, in_predicted, pairs.predicted, predicted_areas)
    partners = pairs.best_one_to_one()
    hits = partners.select(partners.iou > IOU_THRESHOLDS[0])

    true = np.full(num_true, "missed", dtype="<U6")
    predicted = np.full(num_predicted, "extra", dtype="<U6")
    for name, involved in (("merged", merged), ("split", split), ("hit", hits)):
        true[involved.true] = predicted[involved.predicted] = name
    iou = np.zeros(num_predicted)
    iou[partners.predicted] = partners.iou
    return Outcomes(true, predicted, iou)


def _many_in_one(pairs: Pairs, lies_in: np.ndarray, whole: np.ndarray, areas: np.ndarray) -> Pairs:
    """Return the pairs of a whole and its parts, for wholes of several parts that fill more than half of it.

    Args:
        lies_in: (P,) whether the part of a pair lies mainly in its whole.
        whole: (P,) which cell is the whole of each pair, and
        areas: pixels of each of them.
    """
    num_parts = np.bincount(whole[lies_in], minlength=len(areas))
    shared = np.bincount(whole[lies_in], weights=pairs.intersection[lies_in], minlength=len(areas))
    is_whole = (num_parts >= 2) & (2 * shared > areas)
    return pairs.select(lies_in & is_whole[whole])
