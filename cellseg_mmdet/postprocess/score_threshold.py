"""Drop instances with a low score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellseg_mmdet.postprocess.parameters import PerClass, Tunable
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("ScoreThreshold")
class ScoreThreshold(Step):
    """Keep instances whose score is at least a threshold.

    Args:
        score_thr: in [0, 1]; one for all, or a dict from class name to threshold.
    """

    tunable = (Tunable("score_thr", 0.05, 0.95),)

    def __init__(
        self, score_thr: float | Mapping[str, float], *, classes: Sequence[str] | None = None
    ) -> None:
        self.score_thr = PerClass("score_thr", score_thr, classes, low=0, high=1)

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        # In the precision of the scores: float32(0.7) is below 0.7, but reaches a threshold of 0.7.
        score_thr = self.score_thr.of(prediction.labels).astype(prediction.scores.dtype)
        return prediction.select(prediction.scores >= score_thr)
