"""Masks of windows where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.tiling.merge import first_pixels, joined, placed

label_maps = arrays(
    np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 3)
)


@given(label_maps, st.tuples(*[st.integers(0, 3)] * 4))
def test_a_mask_is_the_same_at_its_place(inner: np.ndarray, around: tuple[int, ...]) -> None:
    top, left, bottom, right = around
    whole = np.pad(inner, ((top, bottom), (left, right)))
    found = placed(Runs.from_label_map(inner), top, left, whole.shape)
    assert found == Runs.from_label_map(whole)


@given(label_maps)
def test_first_pixels(label_map: np.ndarray) -> None:
    ids, first = np.unique(label_map, return_index=True)
    assert first_pixels(Runs.from_label_map(label_map)).tolist() == first[ids > 0].tolist()


def test_a_column_that_goes_on_in_the_next_is_taken_apart() -> None:
    full = placed(Runs.from_label_map(np.ones((2, 2), int)), 1, 1, (4, 4))
    assert full.starts.tolist() == [5, 9]
    assert full.lengths.tolist() == [2, 2]


def test_nothing() -> None:
    assert joined([], (3, 4)) == Runs.empty(3, 4)
    assert placed(Runs.empty(2, 2), 1, 1, (3, 4)) == Runs.empty(3, 4)


def test_a_window_that_is_not_inside() -> None:
    with pytest.raises(ValueError, match=r"a window of 2 x 2 at \(3, 0\) is not inside"):
        placed(Runs.empty(2, 2), 3, 0, (4, 4))
