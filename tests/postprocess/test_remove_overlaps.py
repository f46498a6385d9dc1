from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import RemoveOverlaps
from cellseg_mmdet.predictions import ImagePrediction

HEIGHT, WIDTH = 6, 9


def prediction(scores: list[float], dense: np.ndarray) -> ImagePrediction:
    """Predict the bitmaps (N, HEIGHT, WIDTH)."""
    instance, y, x = np.nonzero(dense)
    masks = Runs.from_pixels(x * HEIGHT + y, instance, len(dense), HEIGHT, WIDTH)
    return ImagePrediction(
        image_id="a",
        img_id=None,
        height=HEIGHT,
        width=WIDTH,
        boxes=masks.boxes.astype(float),
        scores=np.array(scores, dtype=float),
        labels=np.arange(len(scores)),
        masks=masks,
    )


def columns(*spans: tuple[int, int]) -> np.ndarray:
    """Return bitmaps that each fill the columns from the first up to the second, exclusive."""
    dense = np.zeros((len(spans), HEIGHT, WIDTH), dtype=bool)
    for bitmap, (begin, end) in zip(dense, spans, strict=True):
        bitmap[:, begin:end] = True
    return dense


def dense_of(masks: Runs) -> np.ndarray:
    dense = np.zeros((len(masks), WIDTH * HEIGHT), dtype=bool)
    pixels, owner = masks.pixels()
    dense[owner, pixels] = True
    return dense.reshape(len(masks), WIDTH, HEIGHT).transpose(0, 2, 1)


def test_the_higher_score_gets_the_shared_pixels() -> None:
    result = RemoveOverlaps()(prediction([0.3, 0.9, 0.5], columns((0, 4), (2, 6), (5, 9))))
    assert np.array_equal(dense_of(result.masks), columns((0, 2), (2, 6), (6, 9)))
    assert result.labels.tolist() == [0, 1, 2]


def test_of_equal_scores_the_first_wins() -> None:
    result = RemoveOverlaps()(prediction([0.5, 0.5], columns((0, 4), (2, 6))))
    assert np.array_equal(dense_of(result.masks), columns((0, 4), (4, 6)))


def test_what_is_left_without_a_pixel_is_dropped() -> None:
    result = RemoveOverlaps()(prediction([0.3, 0.9, 0.5], columns((2, 4), (1, 6), (7, 7))))
    assert result.labels.tolist() == [1]


def test_the_pixels_of_a_dropped_instance_go_to_those_that_remain() -> None:
    # The second keeps 1 of its 3 columns and goes; the third then gets column 4 back.
    given_masks = columns((0, 4), (2, 5), (4, 8))
    result = RemoveOverlaps(min_kept_fraction=0.5)(prediction([0.9, 0.8, 0.7], given_masks))
    assert result.labels.tolist() == [0, 2]
    assert np.array_equal(dense_of(result.masks), columns((0, 4), (4, 8)))


@pytest.mark.parametrize(("fraction", "kept"), [(0.5, [0, 1]), (0.51, [0])])
def test_the_fraction_itself_is_enough(fraction: float, kept: list[int]) -> None:
    result = RemoveOverlaps(fraction)(prediction([0.9, 0.8], columns((0, 4), (3, 5))))
    assert result.labels.tolist() == kept


@st.composite
def scenes(draw: st.DrawFn) -> ImagePrediction:
    """Up to 6 random masks, some with equal scores, some empty."""
    count = draw(st.integers(0, 6))
    seed = draw(st.integers(0, 2**32 - 1))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    rng = np.random.default_rng(seed)
    scores = draw(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=count, max_size=count))
    return prediction(scores, rng.random((count, HEIGHT, WIDTH)) < density)


@given(scenes(), st.sampled_from([0.0, 0.3, 1.0]))
def test_masks_end_disjoint_and_none_grows(scene: ImagePrediction, fraction: float) -> None:
    result = RemoveOverlaps(fraction)(scene)
    before, after = dense_of(scene.masks), dense_of(result.masks)
    assert (after.sum(axis=0) <= 1).all()
    assert after.any(axis=(1, 2)).all()
    assert (after <= before[result.labels]).all()
    assert (after.sum(axis=(1, 2)) >= fraction * before[result.labels].sum(axis=(1, 2))).all()


@given(scenes())
def test_each_pixel_goes_to_the_best_of_its_instances(scene: ImagePrediction) -> None:
    before = dense_of(scene.masks)
    owner = np.full((HEIGHT, WIDTH), -1)
    for index in np.lexsort((np.arange(len(scene)), -scene.scores))[::-1]:
        owner[before[index]] = index
    result = RemoveOverlaps()(scene)
    for label, bitmap in zip(result.labels, dense_of(result.masks), strict=True):
        assert np.array_equal(bitmap, owner == label)
    assert set(result.labels) == set(np.unique(owner)) - {-1}


@given(scenes())
def test_a_second_time_changes_nothing(scene: ImagePrediction) -> None:
    once = RemoveOverlaps()(scene)
    assert RemoveOverlaps()(once).masks == once.masks
