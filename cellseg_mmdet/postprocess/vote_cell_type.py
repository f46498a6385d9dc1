"""One cell type for the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("VoteCellType")
class VoteCellType(Step):
    """Give every instance the label with the greatest sum of scores; of equal sums, the lowest.

    A culture is of one cell type. Behind this step the values per class of all others are those of
    the image's type. Put a `ScoreThreshold` before it to let only certain instances vote.
    """

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        if not len(prediction):
            return prediction
        votes = np.bincount(prediction.labels, weights=prediction.scores)
        return replace(prediction, labels=np.full_like(prediction.labels, votes.argmax()))
