from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from cellseg_mmdet.evaluation.kaggle_map import IOU_THRESHOLDS, count_hits, image_score
from cellseg_mmdet.evaluation.overlaps import Pairs
from cellseg_mmdet.masks import Runs
from tests.evaluation.scenes import columns, jittered_scenes, overlaps, runs_of


def score(predicted: Runs | np.ndarray, true: Runs | np.ndarray) -> float:
    return image_score(overlaps(predicted, true))


def disk(center_x: float, radius: float) -> Runs:
    y, x = np.mgrid[:100, :140]
    return runs_of(((x - center_x) ** 2 + (y - 50) ** 2 <= radius**2)[None])


def test_thresholds() -> None:
    assert IOU_THRESHOLDS.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_a_perfect_prediction_scores_1() -> None:
    cells = columns((0, 3), (5, 9), (9, 20))
    assert score(cells, cells) == 1
    assert score(cells[[2, 0, 1]], cells) == 1


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        # IoU 8 / 12 = 0.67 is a hit at 0.50, 0.55, 0.60 and 0.65.
        (columns((2, 12)), 4 / 10),
        # IoU 6 / 10 = 0.60 is no hit at 0.60: greater, not equal.
        (columns((0, 6)), 2 / 10),
        # IoU 5 / 10 = 0.50 is no hit at all.
        (columns((0, 5)), 0),
        # One hit at every threshold, and one cell that is not there: 1 / (1 + 1 + 0).
        (columns((0, 10), (15, 20)), 1 / 2),
        # Two halves of a cell are two wrong cells.
        (columns((0, 5), (5, 10)), 0),
        # An empty mask is a wrong cell as any other.
        (columns((0, 10), (3, 3)), 1 / 2),
    ],
    ids=["shifted", "cut at 0.6", "half", "one extra", "split", "empty mask"],
)
def test_one_cell_of_ten_columns(predicted: Runs, expected: float) -> None:
    assert score(predicted, columns((0, 10))) == pytest.approx(expected)


def test_a_missed_cell_counts() -> None:
    # 2 / (2 + 0 + 1) at every threshold.
    assert score(columns((0, 3), (5, 8)), columns((0, 3), (5, 8), (9, 12))) == pytest.approx(2 / 3)


def test_disks() -> None:
    # Concentric: the IoU is the ratio of the areas, (36 / 40) ** 2 = 0.81, a hit at 7 thresholds.
    assert score(disk(60, 36), disk(60, 40)) == pytest.approx(0.7)
    # Of radius r, centres r apart: (2 pi / 3 - sqrt(3) / 2) / (4 pi / 3 + sqrt(3) / 2) = 0.24.
    assert score(disk(50, 40), disk(90, 40)) == 0


def test_images_without_cells() -> None:
    nothing, cells = columns(), columns((0, 4), (6, 9))
    assert score(nothing, nothing) == 1
    assert score(nothing, cells) == 0
    assert score(cells, nothing) == 0


def test_a_cell_is_hit_once() -> None:
    # Two predictions of one cell, at IoU 1 and 0.9: 1 / (1 + 1) at all thresholds.
    assert score(columns((0, 10), (0, 9)), columns((0, 10))) == pytest.approx(1 / 2)


def test_overlapping_masks_are_matched_as_well_as_possible() -> None:
    # The first prediction hits both cells, the second only the first: 2 pairs up to 0.70, then 1.
    intersection = np.array([18, 16, 15])
    for true in ([0, 1, 0], [1, 0, 1]):
        pairs = Pairs(np.array([0, 0, 1]), np.array(true), intersection, np.array([20, 20, 20]))
        assert count_hits(pairs).tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 0, 0]


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="different image sizes"):
        score(Runs.empty(2, 3), Runs.empty(3, 2))


@given(jittered_scenes())
def test_perfect_predictions_score_1_and_order_does_not_matter(
    scene: tuple[np.ndarray, np.ndarray],
) -> None:
    predicted, true = scene
    assert score(true, true) == 1
    there = score(predicted, true)
    assert score(predicted[::-1], true[::-1]) == there
    assert score(true, predicted) == there
