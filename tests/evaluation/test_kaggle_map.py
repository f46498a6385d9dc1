from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from cellseg_mmdet.evaluation.kaggle_map import (
    IOU_THRESHOLDS,
    count_hits,
    image_score,
    mean_per_cell_type,
)
from cellseg_mmdet.masks import Runs

HEIGHT, WIDTH = 10, 20


def runs_of(dense: np.ndarray) -> Runs:
    instance, y, x = np.nonzero(dense)
    height, width = dense.shape[1:]
    return Runs.from_pixels(x * height + y, instance, len(dense), height, width)


def columns(*spans: tuple[int, int]) -> Runs:
    """Return masks that each fill the columns from the first up to the second, exclusive."""
    dense = np.zeros((len(spans), HEIGHT, WIDTH), dtype=bool)
    for bitmap, (begin, end) in zip(dense, spans, strict=True):
        bitmap[:, begin:end] = True
    return runs_of(dense)


def disk(center_x: float, radius: float) -> Runs:
    y, x = np.mgrid[:100, :140]
    return runs_of(((x - center_x) ** 2 + (y - 50) ** 2 <= radius**2)[None])


def reference_score(predicted: np.ndarray, true: np.ndarray) -> float:
    """Score bitmaps (N, H, W) and (M, H, W) by the definition, with an optimal assignment."""
    if not len(predicted) and not len(true):
        return 1.0
    iou = np.zeros((len(predicted), len(true)))
    for i, found in enumerate(predicted):
        for j, cell in enumerate(true):
            union = np.logical_or(found, cell).sum()
            iou[i, j] = np.logical_and(found, cell).sum() / union if union else 0
    scores = []
    for threshold in [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]:
        hit = iou > threshold
        pairs = linear_sum_assignment(hit, maximize=True)
        tp = hit[pairs].sum()
        scores.append(tp / (len(predicted) + len(true) - tp))
    return float(np.mean(scores))


def test_thresholds() -> None:
    assert IOU_THRESHOLDS.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_a_perfect_prediction_scores_1() -> None:
    cells = columns((0, 3), (5, 9), (9, 20))
    assert image_score(cells, cells) == 1
    assert image_score(cells[[2, 0, 1]], cells) == 1


@pytest.mark.parametrize(
    ("predicted", "score"),
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
def test_one_cell_of_ten_columns(predicted: Runs, score: float) -> None:
    assert image_score(predicted, columns((0, 10))) == pytest.approx(score)


def test_a_missed_cell_counts() -> None:
    # 2 / (2 + 0 + 1) at every threshold.
    assert image_score(columns((0, 3), (5, 8)), columns((0, 3), (5, 8), (9, 12))) == pytest.approx(
        2 / 3
    )


def test_disks() -> None:
    # Concentric: the IoU is the ratio of the areas, (36 / 40) ** 2 = 0.81, a hit at 7 thresholds.
    assert image_score(disk(60, 36), disk(60, 40)) == pytest.approx(0.7)
    # Of radius r, centres r apart: (2 pi / 3 - sqrt(3) / 2) / (4 pi / 3 + sqrt(3) / 2) = 0.24.
    assert image_score(disk(50, 40), disk(90, 40)) == 0


def test_images_without_cells() -> None:
    nothing, cells = columns(), columns((0, 4), (6, 9))
    assert image_score(nothing, nothing) == 1
    assert image_score(nothing, cells) == 0
    assert image_score(cells, nothing) == 0


def test_a_cell_is_hit_once() -> None:
    # Two predictions of one cell, at IoU 1 and 0.9: 1 / (1 + 1) at all thresholds.
    assert image_score(columns((0, 10), (0, 9)), columns((0, 10))) == pytest.approx(1 / 2)


def test_overlapping_masks_are_matched_as_well_as_possible() -> None:
    # The first prediction hits both cells, the second only the first: 2 pairs, not 1.
    iou = np.array([[0.9, 0.8], [0.7, 0.1]])
    assert count_hits(iou, np.array([0.5, 0.75, 0.85])).tolist() == [2, 1, 1]
    assert count_hits(iou[:, ::-1], np.array([0.5, 0.75, 0.85])).tolist() == [2, 1, 1]


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="different image sizes"):
        image_score(Runs.empty(2, 3), Runs.empty(3, 2))


@st.composite
def jittered_scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Return rectangles as predicted (N, H, W) and as they are (M, H, W), overlapping or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, largest_shift = draw(st.integers(0, 8)), draw(st.integers(0, 3))
    predicted, true = np.zeros((2, count, HEIGHT, WIDTH), dtype=bool)
    for found, cell in zip(predicted, true, strict=True):
        x, y, shift = rng.integers(0, WIDTH - 4), rng.integers(0, HEIGHT - 4), largest_shift
        width, height = rng.integers(2, 10, size=2)
        cell[y : y + height, x : x + width] = True
        dx, dy = rng.integers(0, shift + 1, size=2)
        found[y + dy : y + height, x + dx : x + width + dx] = True
    return predicted[rng.random(count) < 0.9], true[rng.random(count) < 0.9]


@given(jittered_scenes())
def test_agrees_with_the_definition(scene: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = scene
    score = image_score(runs_of(predicted), runs_of(true))
    assert score == pytest.approx(reference_score(predicted, true))


@given(jittered_scenes())
def test_perfect_predictions_score_1_and_order_does_not_matter(
    scene: tuple[np.ndarray, np.ndarray],
) -> None:
    predicted, true = scene
    assert image_score(runs_of(true), runs_of(true)) == 1
    there = image_score(runs_of(predicted), runs_of(true))
    assert image_score(runs_of(predicted[::-1]), runs_of(true[::-1])) == there
    assert image_score(runs_of(true), runs_of(predicted)) == there


def test_means_per_cell_type() -> None:
    means = mean_per_cell_type([1.0, 0.5, 0.0, 0.2], ["cort", "astro", "cort", None])
    assert means == pytest.approx(
        {"kaggle_map": 0.425, "kaggle_map_astro": 0.5, "kaggle_map_cort": 0.5}
    )
    assert np.isnan(mean_per_cell_type([], [])["kaggle_map"])
