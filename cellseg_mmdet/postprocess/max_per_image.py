"""Keep the best instances of an image."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.postprocess.parameters import check_number
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("MaxPerImage")
class MaxPerImage(Step):
    """Keep at most so many instances, those with the highest scores, in the order they came in.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 3]]))
        >>> scores, labels = np.array([0.4, 0.9, 0.8]), np.array([0, 0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> MaxPerImage(2)(found).scores
        array([0.9, 0.8])
    """

    def __init__(self, max_per_image: int) -> None:
        check_number("max_per_image", max_per_image, 1, integer=True)
        self.max_per_image = max_per_image

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        return prediction.select(np.sort(prediction.by_descending_score()[: self.max_per_image]))
