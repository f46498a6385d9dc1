"""Drop instances whose area is too small or too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellseg_mmdet.postprocess.parameters import PerClass, Tunable
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("MinArea")
class MinArea(Step):
    """Keep instances of at least so many pixels.

    Args:
        min_area_px: one for all, or a dict from class name to area.
    """

    tunable = (Tunable("min_area_px", 1, 500, log=True, integer=True),)

    def __init__(
        self, min_area_px: int | Mapping[str, int], *, classes: Sequence[str] | None = None
    ) -> None:
        self.min_area_px = PerClass("min_area_px", min_area_px, classes, low=0, integer=True)

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        return prediction.select(prediction.masks.areas >= self.min_area_px.of(prediction.labels))


@STEPS.register("MaxArea")
class MaxArea(Step):
    """Keep instances of at most so many pixels.

    Args:
        max_area_px: one for all, or a dict from class name to area.
    """

    tunable = (Tunable("max_area_px", 500, 50_000, log=True, integer=True),)

    def __init__(
        self, max_area_px: int | Mapping[str, int], *, classes: Sequence[str] | None = None
    ) -> None:
        self.max_area_px = PerClass("max_area_px", max_area_px, classes, low=1, integer=True)

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        return prediction.select(prediction.masks.areas <= self.max_area_px.of(prediction.labels))
