from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.postprocess.rescore import Rescore
from tests.postprocess.scenes import columns, predict


def test_a_score_is_multiplied_by_that_of_the_mask() -> None:
    given = predict(columns((0, 2), (3, 5)), [0.5, 0.75])
    result = Rescore()(replace(given, mask_scores=np.array([0.5, 1.0])))
    assert result.scores.tolist() == [0.25, 0.75]
    assert result.scores.dtype == given.scores.dtype


def test_predictions_without_mask_scores_are_an_error() -> None:
    with pytest.raises(
        ConfigError, match=r"a: Rescore needs the probabilities .* PixelDetector do"
    ):
        Rescore()(predict(columns((0, 2))))
