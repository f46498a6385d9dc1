from __future__ import annotations

import numpy as np
from hypothesis import given

from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.postprocess.vote_cell_type import VoteCellType
from cellseg_mmdet.structures import ImagePrediction
from tests.postprocess.scenes import CLASSES, columns, kept, numbered, predict, predictions


def cells(scores: list[float], labels: list[int]) -> ImagePrediction:
    return numbered(predict(columns(*((i, i + 1) for i in range(len(scores)))), scores, labels))


def test_scores_are_the_weights_of_the_votes() -> None:
    assert VoteCellType()(cells([0.9, 0.25, 0.25], [2, 1, 1])).labels.tolist() == [2, 2, 2]
    assert VoteCellType()(cells([0.9, 0.5, 0.5], [2, 1, 1])).labels.tolist() == [1, 1, 1]


def test_of_equal_votes_the_first_class_wins() -> None:
    assert VoteCellType()(cells([0.5, 0.5], [2, 1])).labels.tolist() == [1, 1]


def test_the_rules_of_the_winner_hold_for_the_whole_image() -> None:
    steps = [
        dict(type="VoteCellType"),
        dict(type="ScoreThreshold", score_thr=dict(astro=0.8, cort=0.3, shsy5y=0.1)),
    ]
    given = cells([0.6, 0.5, 0.7, 0.2], [1, 1, 0, 2])
    result = build_pipeline(steps, CLASSES)(given)
    assert kept(result) == [0, 1, 2]
    assert result.labels.tolist() == [1, 1, 1]
    assert given.labels.tolist() == [1, 1, 0, 2]


def test_only_what_a_threshold_left_votes() -> None:
    given = cells([0.9, 0.4, 0.4, 0.4], [2, 1, 1, 1])
    steps = [dict(type="ScoreThreshold", score_thr=0.5), dict(type="VoteCellType")]
    assert build_pipeline(steps, CLASSES)(given).labels.tolist() == [2]


@given(predictions())
def test_all_else_stays(scene: ImagePrediction) -> None:
    result = VoteCellType()(scene)
    assert result.masks == scene.masks and np.array_equal(result.scores, scene.scores)
    assert len(set(result.labels.tolist())) == min(len(scene), 1)
    assert result.labels.dtype == scene.labels.dtype
