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
from typing import Literal

import numpy as np

from cellseg_mmdet.evaluation.kaggle_map import IOU_THRESHOLDS
from cellseg_mmdet.evaluation.overlaps import Overlaps, Pairs
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.overlays import draw_instances

Outcome = Literal["hit", "missed", "extra", "split", "merged"]
# What each outcome is drawn in (RGB): colours that differ to every kind of colour vision, on gray.
COLORS_RGB: dict[str, tuple[int, int, int]] = {
    "hit": (0, 190, 130),
    "missed": (255, 96, 50),
    "extra": (245, 225, 60),
    "split": (90, 185, 255),
    "merged": (235, 120, 225),
}


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
        return {outcome: counted.get(outcome, 0) for outcome in COLORS_RGB}


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


def draw_outcomes(
    image: np.ndarray, overlaps: Overlaps, outcomes: Outcomes | None = None, *, scale: int = 2
) -> np.ndarray:
    """Draw errors as tints with contours in `COLORS_RGB`, and hits as thin contours.

    Missed cells are drawn as they are, extra ones as predicted. A split is drawn as its pieces, a merged cell as the
    true cells that it joins, so that the border between them, missing or too many, is seen.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        outcomes: what `find_outcomes` found, if it is known already.
        scale: how many times the drawing is larger than the image.

    Returns:
        (scale * H, scale * W, 3) uint8, BGR.
    """
    outcomes = find_outcomes(overlaps) if outcomes is None else outcomes
    from_true = np.isin(outcomes.true, ("missed", "merged"))
    from_predicted = np.isin(outcomes.predicted, ("hit", "extra", "split"))
    names = [*outcomes.true[from_true], *outcomes.predicted[from_predicted]]
    colors = np.array([COLORS_RGB[name][::-1] for name in names], np.uint8).reshape(-1, 3)
    return draw_instances(
        image,
        Runs.concatenate([overlaps.true[from_true], overlaps.predicted[from_predicted]]),
        colors=colors,
        filled=np.array([name != "hit" for name in names], dtype=bool),
        scale=scale,
    )


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
