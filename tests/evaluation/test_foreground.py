from __future__ import annotations

import pytest

from cellseg_mmdet.evaluation.foreground import dice, foreground_iou
from cellseg_mmdet.masks import Runs
from tests.evaluation.scenes import columns, overlaps


@pytest.mark.parametrize(
    ("predicted", "true", "shared", "found", "cells"),
    [
        (columns((0, 10)), columns((0, 10)), 10, 10, 10),
        (columns((0, 8)), columns((0, 10)), 8, 8, 10),
        (columns((0, 10)), columns((5, 12)), 5, 10, 7),
        # Cells are not told apart, and what two of them have counts once.
        (columns((0, 5), (5, 10)), columns((0, 10)), 10, 10, 10),
        (columns((0, 8), (4, 10)), columns((0, 7), (6, 12)), 10, 10, 12),
        (columns((0, 5)), columns((5, 10)), 0, 5, 5),
        (columns(), columns((5, 10)), 0, 0, 5),
        (columns((5, 10)), columns(), 0, 5, 0),
    ],
    ids=["perfect", "cut", "shifted", "split", "overlapping", "beside", "nothing found", "nothing there"],
)  # fmt: skip
def test_columns(predicted: Runs, true: Runs, shared: int, found: int, cells: int) -> None:
    assert dice(overlaps(predicted, true)) == pytest.approx(2 * shared / (found + cells))
    assert foreground_iou(overlaps(predicted, true)) == pytest.approx(
        shared / (found + cells - shared)
    )


def test_nothing_there_and_nothing_found_is_perfect() -> None:
    for nothing in (columns(), columns((3, 3))):
        assert dice(overlaps(nothing, nothing)) == foreground_iou(overlaps(nothing, nothing)) == 1
