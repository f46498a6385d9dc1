"""Drop what is too small to be a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellseg_mmdet.postprocess.parameters import PerClass
from cellseg_mmdet.postprocess.pipeline import STEPS
from cellseg_mmdet.predictions import ImagePrediction


@STEPS.register("MinArea")
class MinArea:
    """Keep instances of at least so many pixels.

    Args:
        min_area_px: one for all, or a dict from class name to area.
    """

    def __init__(
        self, min_area_px: int | Mapping[str, int], *, classes: Sequence[str] | None = None
    ) -> None:
        self.min_area_px = PerClass("min_area_px", min_area_px, classes, low=0, integer=True)

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        return prediction.select(prediction.masks.areas >= self.min_area_px.of(prediction.labels))
