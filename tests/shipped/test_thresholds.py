"""`tools/models/thresholds.py`: choices of thresholds, compared on images of the training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet import load_model
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from tests.shipped.tiny import write_tiny
from tools.models.thresholds import Scored, choices_of, scored_with, set_thresholds, table


@pytest.fixture
def model(tmp_path: Path):
    config, checkpoint, _ = write_tiny(tmp_path)
    return load_model(config, checkpoint, device="cpu")


def test_the_network_runs_once_for_all_choices(model, tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.int32)
    for number in range(4):
        y, x = 16 + 32 * (number // 2), 16 + 32 * (number % 2)
        cv2.circle(labels, (x, y), 8, number + 1, -1)
    assert cv2.imwrite(str(tmp_path / "a.png"), (labels > 0).astype(np.uint8) * 200)
    record = ImageRecord("a.png", 64, 64, Runs.from_label_map(labels), ("cell",) * 4)
    calls = []

    def true_maps(batch_inputs: torch.Tensor) -> torch.Tensor:
        calls.append(batch_inputs.shape)
        maps = model.predictor.model.code.encode(record.masks).maps.copy()
        maps[0] *= 0.6  # the probability of foreground
        return torch.from_numpy(maps)[None]

    model.predictor.model.predict_maps = true_maps
    choices = choices_of({"diameter_px": [17.0], "mask_thr": [0.5, 0.7], "score_thr": [0.3, 0.99]})
    (scored,) = scored_with(model, [record], tmp_path, choices)
    assert len(calls) == len(set(calls))  # once at each size
    assert scored.scores[0] == 1.0  # found, and kept
    assert scored.scores[1] == scored.scores[2] == scored.scores[3] == 0.0


def test_what_a_model_has_not_is_named(model) -> None:
    set_thresholds(model, {"mask_thr": 0.7})
    assert model.predictor.model.code.mask_thr == 0.7
    del model.predictor.model.code.flow_thr
    with pytest.raises(UsageError, match="--flow-thr: the model's code and post-processing have"):
        set_thresholds(model, {"flow_thr": 0.8})
    with pytest.raises(UsageError, match="have no colour"):
        set_thresholds(model, {"colour": 0.8})


def test_the_best_choice_comes_first() -> None:
    choices = [{"mask_thr": 0.4}, {"mask_thr": 0.5}]
    lines = table(choices, [Scored("a", [0.25, 0.5]), Scored("b", [0.25, 0.75])])
    assert lines == [
        "| mask_thr | all 2 images | 1 a | 1 b |",
        "|---|---|---|---|",
        "| 0.5 | 0.625 | 0.500 | 0.750 |",
        "| 0.4 | 0.250 | 0.250 | 0.250 |",
    ]
