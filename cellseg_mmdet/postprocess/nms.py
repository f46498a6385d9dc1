"""Non-maximum suppression: of instances that cover each other, keep the one with the highest score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from cellseg_mmdet.masks.shared import Shared, shared_by_boxes, shared_by_masks
from cellseg_mmdet.postprocess.parameters import PerClass, Tunable, check_choice
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction

MEASURES = ("iou", "ios")


class NMS(Step):
    """Go through the instances by falling score; each that stays drops those that it overlaps by too much.

    Instances of different classes drop each other too: no two cells are in one place.

    Args:
        overlap_thr: more overlap than this drops an instance, in [0, 1]; one for all, or a dict
            from class name to threshold. The class of the one that is dropped counts.
        measure: ``'iou'``, intersection over union; or ``'ios'``, intersection over the smaller of
            the two, which also finds a part of a cell inside the whole.
    """

    tunable = (Tunable("overlap_thr", 0.1, 0.9),)

    def __init__(
        self,
        overlap_thr: float | Mapping[str, float],
        measure: str = "iou",
        *,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.overlap_thr = PerClass("overlap_thr", overlap_thr, classes, low=0, high=1)
        check_choice("measure", measure, MEASURES)
        self.measure = measure

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        order = prediction.by_descending_score()
        areas, shared = self._areas(prediction.select(order))
        first, second = areas[shared.first], areas[shared.second]
        if self.measure == "iou":
            overlap = shared.area / (first + second - shared.area)
        else:
            overlap = shared.area / np.minimum(first, second)
        too_much = overlap > self.overlap_thr.of(prediction.labels[order])[shared.second]
        stays = _stays(shared.first[too_much], shared.second[too_much], len(order))
        return prediction.select(np.sort(order[stays]))

    @abstractmethod
    def _areas(self, prediction: ImagePrediction) -> tuple[np.ndarray, Shared]:
        """Return the area of each instance (N,), and what pairs share."""


@STEPS.register("BoxNMS")
class BoxNMS(NMS):
    """Drop instances whose box a better one overlaps by too much, see `NMS`."""

    def _areas(self, prediction: ImagePrediction) -> tuple[np.ndarray, Shared]:
        boxes = prediction.boxes.astype(np.float64)
        return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), shared_by_boxes(boxes)


@STEPS.register("MaskNMS")
class MaskNMS(NMS):
    """Drop instances whose mask a better one overlaps by too much, see `NMS`."""

    def _areas(self, prediction: ImagePrediction) -> tuple[np.ndarray, Shared]:
        return prediction.masks.areas, shared_by_masks(prediction.masks)


def _stays(better: np.ndarray, worse: np.ndarray, num_instances: int) -> np.ndarray:
    """Return which instances (N,) bool stay, if each that stays drops those that it is paired with.

    Pairs are sorted by ``better``, and ``better < worse``: whether an instance stays is settled
    before its own pairs are reached.
    """
    stays = [True] * num_instances
    for one, other in zip(better.tolist(), worse.tolist(), strict=True):
        if stays[one]:
            stays[other] = False
    return np.array(stays, dtype=bool)
