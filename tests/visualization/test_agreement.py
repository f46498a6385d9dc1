"""`draw_agreement`: both outlines, what differs tinted, and the part of a picture that shows most."""

from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.pages.agreement import (
    FOUND_BGR,
    JOINED_BGR,
    TRUE_BGR,
    Window,
    agreement_sheet,
    draw_agreement,
    telling_window,
)

SIZE = 60


def squares(*corners: tuple[int, int, int]) -> Runs:
    labels = np.zeros((SIZE, SIZE), np.int32)
    for number, (y, x, side) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = number
    return Runs.from_label_map(labels)


BLACK = np.zeros((SIZE, SIZE), np.uint8)
MISSED, SAME, EXTRA = (5, 5, 10), (5, 40, 10), (40, 5, 10)


def is_of(drawing: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return where a drawing has a colour: whole on outlines, mixed with black in tints."""
    return (drawing == color).all(axis=2)


def test_a_missed_an_extra_and_a_found_cell() -> None:
    overlaps = Overlaps(squares(SAME, EXTRA), squares(MISSED, SAME))
    drawing = draw_agreement(BLACK, overlaps, scale=1)
    true, found = is_of(drawing, TRUE_BGR), is_of(drawing, FOUND_BGR)
    assert true.sum() == 36 and true[5:15, 5:15].sum() == 36  # the rim of 10 x 10
    assert found.sum() == 72 and found[5:15, 40:50].sum() == found[40:50, 5:15].sum() == 36
    inside = drawing[6:14, 6:14].reshape(-1, 3)
    assert (inside == inside[0]).all() and inside[0].any()  # tinted
    assert drawing[40 + 5, 5 + 5].any()
    assert not drawing[10, 45].any()  # what was found is not


def test_merged_cells_are_tinted_as_such() -> None:
    overlaps = Overlaps(squares((10, 10, 20)), Runs.from_label_map(_halves()))
    drawing = draw_agreement(BLACK, overlaps, scale=1)
    shares = drawing[15, 15].astype(float) / np.array(JOINED_BGR)
    assert np.ptp(shares) < 0.05 and 0.3 < shares[0] < 0.6


def _halves() -> np.ndarray:
    labels = np.zeros((SIZE, SIZE), np.int32)
    labels[10:30, 10:20], labels[10:30, 20:30] = 1, 2
    return labels


def test_a_window_is_a_part_of_the_whole() -> None:
    overlaps = Overlaps(squares(SAME, EXTRA), squares(MISSED, SAME))
    whole = draw_agreement(BLACK, overlaps, scale=2)
    part = draw_agreement(BLACK, overlaps, window=Window(30, 0, 20, 24), scale=2)
    assert np.array_equal(part, whole[60:100, :48])


def test_the_frame_is_no_edge() -> None:
    all_of_it = squares((0, 0, SIZE))
    drawing = draw_agreement(BLACK, Overlaps(all_of_it, all_of_it), scale=1)
    assert not drawing.any()


@pytest.mark.parametrize("cells", [squares(), squares(SAME)], ids=["none", "one"])
def test_sheets_of_no_and_of_one_cell(cells: Runs) -> None:
    drawn = agreement_sheet(BLACK, cells, cells, title="a", scale=4)
    assert drawn.dtype == np.uint8 and drawn.shape[1] >= 2 * 4 * SIZE


def test_of_errors_or_of_cells() -> None:
    true = squares(MISSED, (40, 30, 8), (40, 42, 8), (52, 42, 8))
    overlaps = Overlaps(true[np.array([1, 2, 3])], true)
    errors = telling_window((SIZE, SIZE), overlaps, 30, of_errors=True)
    cells = telling_window((SIZE, SIZE), overlaps, 30, of_errors=False)
    assert errors.y <= 5 and errors.x <= 5
    assert cells.y == 30 and cells.x + 30 >= 50 and cells.x <= 30  # all three


def test_a_small_picture_is_shown_whole() -> None:
    none = squares()
    window = telling_window((SIZE, SIZE), Overlaps(none, none), 100, of_errors=True)
    assert window == Window(0, 0, SIZE, SIZE)
