"""Give every pixel to one instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess.column_runs import ColumnRuns
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
        canvas, kept = self._paint(prediction)
        min_kept = self.min_kept_fraction.of(prediction.labels) * prediction.masks.areas
        if (kept < min_kept).any():
            # With fewer competitors no remaining instance can lose more than before: one repetition
            # is enough.
            prediction = prediction.select(kept >= min_kept)
            canvas, kept = self._paint(prediction)
        label_map = canvas.reshape(prediction.width, prediction.height).T
        return replace(prediction.select(kept > 0), masks=Runs.from_label_map(label_map))

    def _paint(self, prediction: ImagePrediction) -> tuple[np.ndarray, np.ndarray]:
        """Return 0 or 1 + the instance of each pixel (H * W,), down the columns, and the pixels each keeps (N,)."""
        masks = prediction.masks
        order = self.worst_first(prediction)
        pixels, rank = masks[order].pixels()
        owner = order.astype(np.int32)[rank]
        if self.give_to == "nearest":
            distance = _distance_to_centre(masks, pixels, owner)
            nearest = np.full(masks.height * masks.width, np.inf)
            np.minimum.at(nearest, pixels, distance)
            is_nearest = distance == nearest[pixels]
            pixels, owner = pixels[is_nearest], owner[is_nearest]
        canvas = np.zeros(masks.height * masks.width, dtype=np.int32)
        canvas[pixels] = owner + 1  # numpy keeps the last that is assigned to an index
        return canvas, np.bincount(canvas, minlength=len(masks) + 1)[1:]

    def owners(self, prediction: ImagePrediction) -> np.ndarray:
        """Return who gets each pixel, (H, W) uint32: 1 + the index of an instance, 0 for none."""
        canvas, _ = self._paint(prediction)
        return np.ascontiguousarray(
            canvas.reshape(prediction.width, prediction.height).T, np.uint32
        )

    def worst_first(self, prediction: ImagePrediction) -> np.ndarray:
        """Return the order (N,) of the instances in which a later one takes pixels from an earlier one."""
        best_first = prediction.by_descending_score()
        if self.give_to in ("smaller", "larger"):
            areas = prediction.masks.areas[best_first]
            by_area = np.argsort(areas if self.give_to == "smaller" else -areas, kind="stable")
            best_first = best_first[by_area]
        return best_first[::-1]


def _distance_to_centre(masks: Runs, pixels: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Return the squared distance (P,) of each pixel to the centre of mass of its owner."""
    runs = ColumnRuns.from_runs(masks)
    length = runs.bottom - runs.top
    squared: np.ndarray = np.zeros(len(pixels))
    for position, middle in zip(
        np.divmod(pixels, masks.height),
        (runs.column, (runs.top + runs.bottom - 1) / 2),
        strict=True,
    ):
        moment = np.bincount(runs.owner, weights=middle * length, minlength=len(masks))
        squared += (position - (moment / np.maximum(masks.areas, 1))[owner]) ** 2
    return squared
