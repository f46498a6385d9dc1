"""Tiles that overlap: no cell is cut at a seam, lost or there twice, however large."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.fallback import PredictWindow, predict_with_overlap, touches_inner_edge


def found_in(label_map: np.ndarray, scores: np.ndarray | None = None) -> ImagePrediction:
    ids = np.unique(label_map)
    ids = ids[ids > 0]
    masks = Runs.from_label_map(label_map)
    values = np.ones(len(ids)) if scores is None else scores[ids - 1]
    return ImagePrediction(
        "a", 1, *label_map.shape, masks.boxes.astype(np.float32), values, ids % 2, masks
    )


def model(picture: np.ndarray) -> PredictWindow:
    """Return a model that sees what is in its window."""
    return lambda window: found_in(picture[window.rows, window.columns])


def cells(height: int, width: int, seed: int, sigma: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(
        np.random.default_rng(seed).standard_normal((height, width)), sigma
    )
    return ndimage.label(noise > noise.std() / 2)[0]


def as_set(prediction: ImagePrediction) -> set[tuple[str, int]]:
    strings = prediction.masks.to_strings(order="row")
    return set(zip(strings, prediction.labels.tolist(), strict=True))


@settings(max_examples=25)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    tile=st.integers(10, 80),
    overlap=st.one_of(st.none(), st.integers(1, 30)),
    sigma=st.sampled_from([1.0, 3.0, 8.0]),
    seed=st.integers(0, 1000),
)
def test_every_cell_once_and_whole(height, width, tile, overlap, sigma, seed) -> None:
    picture = cells(height, width, seed, sigma)
    found = predict_with_overlap(model(picture), (height, width), tile, overlap=overlap)
    whole = found_in(picture)
    assert len(found.prediction) == len(whole)
    assert as_set(found.prediction) == as_set(whole)
    assert found.num_cut == 0


def test_a_cell_larger_than_the_overlap_is_predicted_in_a_larger_window() -> None:
    picture = np.zeros((60, 300), int)
    picture[20:40, 10:290] = 1
    picture[5:10, 5:10] = 2
    found = predict_with_overlap(model(picture), (60, 300), 40, overlap=4)
    assert as_set(found.prediction) == as_set(found_in(picture))
    assert found.num_grown > 0
    assert found.num_windows > 16
    assert "not equal to it" in found.notes()[0]


def test_what_does_not_fit_the_largest_window_is_told() -> None:
    picture = np.zeros((60, 300), int)
    picture[20:40, 10:290] = 1
    found = predict_with_overlap(model(picture), (60, 300), 40, overlap=8, most_px=60 * 120)
    assert found.num_cut > 0
    assert "give more --memory" in found.notes()[1]


def test_a_cell_that_two_tiles_see_differently_is_there_once() -> None:
    # Its middle is on the seam, and moves by a pixel with the window that sees it.
    picture = np.zeros((40, 80), int)
    picture[10:20, 34:47] = 1

    def predict(window: Rect) -> ImagePrediction:
        seen = picture[window.rows, window.columns].copy()
        if window.x0 == 0:
            seen[:, 46 - window.x0 :] = 0
        else:
            seen[:, : 36 - window.x0] = 0
        return found_in(seen, np.array([0.9 if window.x0 == 0 else 0.8]))

    found = predict_with_overlap(predict, (40, 80), 40, overlap=20)
    assert found.prediction.scores.tolist() == [0.9]


def test_boxes_move_with_their_masks() -> None:
    picture = cells(100, 130, 3, 3.0)
    found = predict_with_overlap(model(picture), (100, 130), 32).prediction
    np.testing.assert_array_equal(found.boxes, found.masks.boxes)


def test_nothing_found() -> None:
    found = predict_with_overlap(model(np.zeros((50, 50), int)), (50, 50), 16)
    assert len(found.prediction) == 0
    assert (found.prediction.height, found.prediction.width) == (50, 50)


@pytest.mark.parametrize(
    ("box", "touches"),
    [((0, 5, 9, 9), False), ((5, 5, 20, 9), True), ((5, 0, 9, 9), True), ((0, 0, 0, 0), False)],
)
def test_edges_of_the_picture_are_none_of_a_window(box: tuple[int, ...], touches: bool) -> None:
    window, picture = Rect(10, 0, 30, 20), Rect(0, 0, 30, 40)
    assert touches_inner_edge(np.array([box]), window, picture).tolist() == [touches]
