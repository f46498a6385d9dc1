"""Give every pixel to one instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.division import divided
from cellseg_mmdet.postprocess.parameters import PerClass, Tunable, check_choice
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction

RULES = ("score", "smaller", "larger", "nearest")


@STEPS.register("RemoveOverlaps")
class RemoveOverlaps(Step):
    """Give each pixel that instances share to one of them.

    Instances left without a pixel are dropped; the others keep their order. No mask grows.

    Args:
        min_kept_fraction: drop also instances that keep a smaller share of their pixels than this,
            in [0, 1]; one for all, or a dict from class name to share. The pixels they held are
            then given to those that remain.
        give_to: ``'score'``, the instance with the highest score; ``'smaller'`` or ``'larger'``,
            that with the smallest or largest mask; ``'nearest'``, that whose centre of mass is
            nearest to the pixel. Of equal ones the higher score wins, of equal scores the first.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> parts = [np.array([[1, 1, 1, 0]]), np.array([[0, 0, 1, 1]])]
        >>> masks = Runs.concatenate([Runs.from_label_map(part) for part in parts])
        >>> scores, labels = np.array([0.6, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
        >>> RemoveOverlaps()(found).masks.to_label_map()
        array([[1, 1, 2, 2]], dtype=int32)
        >>> RemoveOverlaps(give_to="larger")(found).masks.to_label_map()
        array([[1, 1, 1, 2]], dtype=int32)
    """

    tunable = (Tunable("min_kept_fraction", 0, 0.95),)

    def __init__(
        self,
        min_kept_fraction: float | Mapping[str, float] = 0.0,
        give_to: str = "score",
        *,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.min_kept_fraction = PerClass(
            "min_kept_fraction", min_kept_fraction, classes, low=0, high=1
        )
        check_choice("give_to", give_to, RULES)
        self.give_to = give_to

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        masks = self.divided(prediction)
        kept = masks.areas
        min_kept = self.min_kept_fraction.of(prediction.labels) * prediction.masks.areas
        if (kept < min_kept).any():
            # With fewer competitors no remaining instance can lose more than before: one repetition
            # is enough.
            prediction = prediction.select(kept >= min_kept)
            masks = self.divided(prediction)
            kept = masks.areas
        return replace(prediction.select(kept > 0), masks=masks[kept > 0])

    def divided(self, prediction: ImagePrediction) -> Runs:
        """Return the masks (N) with each pixel in one of them; some may be left empty."""
        order = self.worst_first(prediction)
        return divided(prediction.masks, order, nearest=self.give_to == "nearest")

    def worst_first(self, prediction: ImagePrediction) -> np.ndarray:
        """Return the order (N,) of the instances in which a later one takes pixels from an earlier one."""
        best_first = prediction.by_descending_score()
        if self.give_to in ("smaller", "larger"):
            areas = prediction.masks.areas[best_first]
            by_area = np.argsort(areas if self.give_to == "smaller" else -areas, kind="stable")
            best_first = best_first[by_area]
        return best_first[::-1]
