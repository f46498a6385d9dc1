"""What mmdet's code does with ``BitmapMasks.masks`` it can do with that of `RoIMasks`, to the same effect."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdet.structures.mask import BitmapMasks

from cellseg_mmdet.masks import RoIMasks
from tests.masks.roi_scenes import assert_same, dense_scene, scenes, stock

READS: dict[str, Callable[[Any], Any]] = {
    "shape": lambda m: (m.shape, m.ndim, m.dtype, len(m)),
    "array": np.asarray,
    "copy": lambda m: np.array(m, dtype=np.int64),
    "any": lambda m: np.any(m, axis=0),
    "method": lambda m: m.any(axis=2),
    "sum": lambda m: m.sum(axis=(1, 2)),
    "iterate": lambda m: [mask.sum() for mask in m],
    "select": lambda m: m[np.arange(len(m)) % 2 == 0],
    "one": lambda m: m[0],
    "where": lambda m: np.where(m[:1], 0, m),
    "compare": lambda m: m == 1,
    "multiply": lambda m: 3 * m,
    "join": lambda m: np.concatenate([m, m]),
}


@pytest.mark.parametrize("name", READS)
def test_reading_is_the_same(name: str) -> None:
    masks = dense_scene(5, 30)
    found = READS[name](RoIMasks.from_ndarray(masks).masks)
    expected = READS[name](stock(masks).masks)
    np.testing.assert_equal(found, expected)
    assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


def erased(window: tuple[int, int, int, int], value: int) -> Callable[[Any], None]:
    x1, y1, x2, y2 = window

    def write(masks: Any) -> None:
        masks.masks[:, y1:y2, x1:x2] = value

    return write


@given(
    masks=scenes(),
    window=st.tuples(*[st.integers(-5, 45)] * 4),
    value=st.sampled_from([0, 0, 1]),
)
def test_writing_a_window_is_the_same(
    masks: np.ndarray, window: tuple[int, int, int, int], value: int
) -> None:
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks.copy())
    for form in (ours, theirs):
        erased(window, value)(form)
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[0],
        np.s_[1:3],
        np.s_[:, 2:20],
        np.s_[..., 4],
        np.s_[[0, 2], 3:9, 3:9],
        np.s_[::2, 3:9, 3:9],
        np.s_[:, 3:9:2, 3:9],
    ],
    ids=str,
)
def test_writing_anywhere_is_the_same(index: Any) -> None:
    masks = dense_scene(5, 30)
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks.copy())
    for form in (ours, theirs):
        form.masks[index] = 0
    assert_same(ours, theirs)


def test_writing_where_a_condition_holds_and_in_place() -> None:
    masks = dense_scene(5, 30)
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks.copy())
    for form in (ours, theirs):
        form.masks[form.masks.sum(axis=(1, 2)) > 200] = 0
        form.masks &= np.arange(30, dtype=np.uint8) % 2
    assert_same(ours, theirs)


def test_an_array_in_its_place() -> None:
    ours = RoIMasks.from_ndarray(dense_scene(5, 30))
    ours.masks = dense_scene(2, 30, seed=1)
    assert np.array_equal(ours.to_ndarray(), dense_scene(2, 30, seed=1))
    with pytest.raises(ValueError, match=r"\(2, 9, 30\) for an image of 30 x 30"):
        ours.masks = np.zeros((2, 9, 30), np.uint8)


def test_a_write_changes_these_masks_alone() -> None:
    ours = RoIMasks.from_ndarray(dense_scene(5, 30))
    padded, kept = ours.pad((40, 40)), copy.deepcopy(ours)
    ours.masks[:, :20] = 0
    assert np.array_equal(padded.to_ndarray()[:, :30, :30], kept.to_ndarray())
    full = RoIMasks.from_ndarray(np.ones((2, 4, 4), np.uint8))
    np.asarray(full.masks)[:] = 0  # an array of its own
    assert full.areas.tolist() == [16, 16]


def test_erasing_costs_no_more_than_the_boxes() -> None:
    side = 100_000
    masks = RoIMasks(np.array([[5, 5, 9, 9]] * 100), np.ones(1600, np.uint8), side, side)
    masks.masks[:, 7:side, 0:side] = 0
    assert masks.areas.tolist() == [8] * 100


@pytest.mark.parametrize("masks", [dense_scene(3, 12), list(dense_scene(3, 12)), []], ids=len)
def test_it_is_made_as_mmdet_makes_its_own(masks: Any) -> None:
    ours, theirs = RoIMasks(masks, 12, 12), BitmapMasks(masks, 12, 12)
    assert_same(ours, theirs)


def test_a_view_is_copied_with_its_masks() -> None:
    view = RoIMasks.from_ndarray(dense_scene(3, 12)).masks
    for again in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        again[:] = 0
    assert np.array_equal(view, dense_scene(3, 12))
