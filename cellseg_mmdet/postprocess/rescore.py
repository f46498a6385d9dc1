"""Scores multiplied by the mean probability of the mask."""

from __future__ import annotations

from dataclasses import replace

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("Rescore")
class Rescore(Step):
    """Multiply each score by the mean probability of the mask's pixels (the "maskness" of SOLO, Wang et al. 2020).

    The score of a detector speaks of its box. Where masks of equal scores compete, the product
    prefers the one with the clear outline.

    Raises:
        ConfigError: when called, if the predictions come without these probabilities.

    Example:
        >>> from dataclasses import replace
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.9, 0.8]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> Rescore()(replace(found, mask_scores=np.array([0.5, 1.0]))).scores
        array([0.45, 0.8 ])
    """

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        if prediction.mask_scores is None:
            raise ConfigError(
                f"{prediction.image_id}: Rescore needs the probabilities of the mask pixels, and "
                "these predictions have none; those of RoIFCNMaskHead, RoIHTCMaskHead and PixelDetector do"
            )
        scores = prediction.scores * prediction.mask_scores
        return replace(prediction, scores=scores.astype(prediction.scores.dtype))
