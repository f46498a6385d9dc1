from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from cellseg_mmdet.evaluation.aji import aji, aji_plus
from cellseg_mmdet.masks import Runs
from tests.evaluation.scenes import columns, jittered_scenes, overlaps


@pytest.mark.parametrize(
    ("predicted", "expected", "expected_plus"),
    [
        (columns((0, 10), (10, 16)), 1, 1),
        # Cut: 8 + 6 of 10 + 6.
        (columns((0, 8), (10, 16)), 14 / 16, 14 / 16),
        # Missed: the second cell adds its pixels to the union.
        (columns((0, 10)), 10 / 16, 10 / 16),
        # One too many adds its pixels to the union.
        (columns((0, 10), (10, 16), (18, 20)), 16 / 18, 16 / 18),
        # Merged: the prediction of 16 columns is in both pairs, (10 + 6) / (16 + 16); or in one, and the other cell
        # is alone: 10 / (16 + 6).
        (columns((0, 16)), 16 / 32, 10 / 22),
        # Split: the larger part is paired, the smaller alone.
        (columns((0, 7), (7, 10), (10, 16)), (7 + 6) / (10 + 3 + 6), (7 + 6) / (10 + 3 + 6)),
        # Best for both cells is the first, 8/12 and 4/10. One to one, the second cell is left its own, 1/6:
        # 8/12 + 1/6 is more than 4/10.
        (columns((2, 14), (15, 16)), (8 + 4) / (14 + 14 + 1), (8 + 1) / (14 + 6)),
        # An empty mask has no pixel to count.
        (columns((0, 10), (10, 16), (3, 3)), 1, 1),
        (columns((17, 20)), 0, 0),
        (columns(), 0, 0),
    ],
    ids=[
        "perfect", "cut", "missed", "extra", "merged", "split", "shared best", "empty mask", "beside",
        "none",
    ],
)  # fmt: skip
def test_two_cells(predicted: Runs, expected: float, expected_plus: float) -> None:
    both = overlaps(predicted, columns((0, 10), (10, 16)))
    assert aji(both) == pytest.approx(expected)
    assert aji_plus(both) == pytest.approx(expected_plus)


def test_images_without_cells() -> None:
    nothing, cells = columns(), columns((0, 4), (6, 9))
    for index in (aji, aji_plus):
        assert index(overlaps(nothing, nothing)) == 1
        assert index(overlaps(cells, nothing)) == 0
        assert index(overlaps(nothing, cells)) == 0


@given(jittered_scenes())
def test_bounds(scene: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = scene
    for index in (aji, aji_plus):
        assert 0 <= index(overlaps(predicted, true)) <= 1
    assert aji_plus(overlaps(true, true)) == 1
    # Of two cells of the same pixels AJI takes the first for both, and the second is left over.
    if len(np.unique(true.reshape(len(true), true[0].size if len(true) else 0), axis=0)) == len(
        true
    ):
        assert aji(overlaps(true, true)) == 1


def test_of_two_equal_cells_aji_takes_one_for_both() -> None:
    cells = columns((0, 4), (0, 4))
    assert aji(overlaps(cells, cells)) == pytest.approx(2 / 3)
    assert aji_plus(overlaps(cells, cells)) == 1
