"""Keep the best instances of an image."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.postprocess.parameters import check_number
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("MaxPerImage")
class MaxPerImage(Step):
    """Keep at most so many instances, those with the highest scores, in the order they came in."""

    def __init__(self, max_per_image: int) -> None:
        check_number("max_per_image", max_per_image, 1, integer=True)
        self.max_per_image = max_per_image

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        return prediction.select(np.sort(prediction.by_descending_score()[: self.max_per_image]))
