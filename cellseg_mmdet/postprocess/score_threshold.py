"""Drop what the model is not sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cellseg_mmdet.postprocess.parameters import PerClass
from cellseg_mmdet.postprocess.pipeline import STEPS
from cellseg_mmdet.predictions import ImagePrediction


@STEPS.register("ScoreThreshold")
class ScoreThreshold:
    """Keep instances whose score is at least a threshold.

    Args:
        score_thr: in [0, 1]; one for all, or a dict from class name to threshold.
    """

    def __init__(
        self, score_thr: float | Mapping[str, float], *, classes: Sequence[str] | None = None
    ) -> None:
        self.score_thr = PerClass("score_thr", score_thr, classes, low=0, high=1)

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        # In the precision of the scores: float32(0.7) is below 0.7, but reaches a threshold of 0.7.
        score_thr = np.asarray(self.score_thr.of(prediction.labels), dtype=prediction.scores.dtype)
        return prediction.select(prediction.scores >= score_thr)
