from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.postprocess.remove_overlaps import RULES, RemoveOverlaps
from cellseg_mmdet.structures import ImagePrediction
from tests.postprocess.scenes import (
    CLASSES,
    HEIGHT,
    WIDTH,
    bitmaps_of,
    columns,
    kept,
    numbered,
    predict,
    predictions,
)


def test_the_higher_score_gets_the_shared_pixels() -> None:
    scene = numbered(predict(columns((0, 4), (2, 6), (5, 9)), [0.3, 0.9, 0.5]))
    result = RemoveOverlaps()(scene)
    assert np.array_equal(bitmaps_of(result.masks), columns((0, 2), (2, 6), (6, 9)))
    assert kept(result) == [0, 1, 2]


def test_of_equal_scores_the_first_wins() -> None:
    result = RemoveOverlaps()(predict(columns((0, 4), (2, 6)), [0.5, 0.5]))
    assert np.array_equal(bitmaps_of(result.masks), columns((0, 4), (4, 6)))


@pytest.mark.parametrize(
    ("rule", "expected"), [("smaller", [(0, 5), (5, 8)]), ("larger", [(0, 6), (6, 8)])]
)
def test_the_smaller_or_the_larger_gets_the_shared_pixels(
    rule: str, expected: list[tuple[int, int]]
) -> None:
    result = RemoveOverlaps(give_to=rule)(predict(columns((0, 6), (5, 8))))
    assert np.array_equal(bitmaps_of(result.masks), columns(*expected))


def test_shared_pixels_are_divided_between_the_nearest_centres() -> None:
    # Centres at 2.5 and 6.5: columns 3 and 4 are nearer to the first, column 5 to the second.
    scene = predict(columns((0, 6), (3, 11)), [0.1, 0.9])
    result = RemoveOverlaps(give_to="nearest")(scene)
    assert np.array_equal(bitmaps_of(result.masks), columns((0, 5), (5, 11)))


def test_of_equal_distances_the_higher_score_wins() -> None:
    scene = predict(columns((0, 5), (4, 9)), [0.1, 0.9])
    result = RemoveOverlaps(give_to="nearest")(scene)
    assert np.array_equal(bitmaps_of(result.masks), columns((0, 4), (4, 9)))


def test_what_is_left_without_a_pixel_is_dropped() -> None:
    scene = numbered(predict(columns((2, 4), (1, 6), (7, 7)), [0.3, 0.9, 0.5]))
    assert kept(RemoveOverlaps()(scene)) == [1]


def test_the_pixels_of_a_dropped_instance_go_to_those_that_remain() -> None:
    # The second keeps 1 of its 3 columns and goes; the third then gets column 4 back.
    scene = numbered(predict(columns((0, 4), (2, 5), (4, 8)), [0.9, 0.8, 0.7]))
    result = RemoveOverlaps(min_kept_fraction=0.5)(scene)
    assert kept(result) == [0, 2]
    assert np.array_equal(bitmaps_of(result.masks), columns((0, 4), (4, 8)))


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, [0, 1]), (0.51, [0])])
def test_the_fraction_itself_is_enough(fraction: float, expected: list[int]) -> None:
    scene = numbered(predict(columns((0, 4), (3, 5)), [0.9, 0.8]))
    assert kept(RemoveOverlaps(fraction)(scene)) == expected


def test_the_fraction_may_differ_per_class() -> None:
    # The second and the third keep half of their pixels.
    scene = numbered(predict(columns((0, 4), (3, 5), (6, 8), (5, 7)), labels=[0, 0, 0, 1]))
    step = RemoveOverlaps({"astro": 0.6, "default": 0.5}, classes=CLASSES)
    assert kept(step(scene)) == [0, 2, 3]


@given(predictions(), st.sampled_from(RULES), st.sampled_from([0.0, 0.3, 1.0]))
def test_masks_end_disjoint_and_none_grows(
    scene: ImagePrediction, rule: str, fraction: float
) -> None:
    result = RemoveOverlaps(fraction, rule)(numbered(scene))
    left = kept(result)
    before, after = bitmaps_of(scene.masks)[left], bitmaps_of(result.masks)
    assert left == sorted(left)
    assert np.array_equal(result.scores, scene.scores[left])
    assert np.array_equal(result.labels, scene.labels[left])
    assert (after.sum(axis=0) <= 1).all()
    assert after.any(axis=(1, 2)).all()
    assert (after <= before).all()
    assert (after.sum(axis=(1, 2)) >= fraction * before.sum(axis=(1, 2))).all()


def by_score(scene: ImagePrediction, dense: np.ndarray) -> np.ndarray:
    return np.broadcast_to(-scene.scores[:, None, None], dense.shape)


def by_area(scene: ImagePrediction, dense: np.ndarray) -> np.ndarray:
    return np.broadcast_to(dense.sum(axis=(1, 2))[:, None, None], dense.shape)


def by_distance(scene: ImagePrediction, dense: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    area = np.maximum(dense.sum(axis=(1, 2)), 1)[:, None, None]
    centre_x, centre_y = ((dense * at).sum(axis=(1, 2), keepdims=True) / area for at in (x, y))
    return (x - centre_x) ** 2 + (y - centre_y) ** 2


@given(
    predictions(),
    st.sampled_from(
        [
            ("score", by_score),
            ("smaller", by_area),
            ("larger", lambda scene, dense: -by_area(scene, dense)),
            ("nearest", by_distance),
        ]
    ),
)
def test_each_pixel_goes_to_the_first_by_the_rule(
    scene: ImagePrediction,
    rule: tuple[str, Callable[[ImagePrediction, np.ndarray], np.ndarray]],
) -> None:
    name, cost_of = rule
    dense = bitmaps_of(scene.masks)
    cost = cost_of(scene, dense)
    expected = np.zeros_like(dense)
    for y, x in np.argwhere(dense.any(axis=0)):
        holders = np.flatnonzero(dense[:, y, x])
        best = min(holders, key=lambda i: (round(cost[i, y, x], 9), -scene.scores[i], i))
        expected[best, y, x] = True
    result = RemoveOverlaps(give_to=name)(numbered(scene))
    assert kept(result) == np.flatnonzero(expected.any(axis=(1, 2))).tolist()
    assert np.array_equal(bitmaps_of(result.masks), expected[kept(result)])


@given(predictions(), st.sampled_from(RULES), st.sampled_from([0.0, 0.5]))
def test_a_second_time_changes_nothing(scene: ImagePrediction, rule: str, fraction: float) -> None:
    once = RemoveOverlaps(fraction, rule)(scene)
    assert RemoveOverlaps(fraction, rule)(once).masks == once.masks
