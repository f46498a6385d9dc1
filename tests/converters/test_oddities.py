from __future__ import annotations

import cv2
import numpy as np
import pytest

from cellseg_mmdet.converters.oddities import describe, find_oddities
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from tests.visualization.drawn import HEIGHT, WIDTH, rectangles


def record(masks: Runs, name: str = "a.png") -> ImageRecord:
    return ImageRecord(name, HEIGHT, WIDTH, masks, ("cell",) * len(masks))


def mask(bitmap: np.ndarray) -> Runs:
    return Runs.from_label_map(bitmap.astype(np.int32))


def found(masks: Runs) -> list[tuple[int, str, float]]:
    return [(o.cell, o.kind, round(o.share, 3)) for o in find_oddities([record(masks)])]


def test_sound_cells_side_by_side_are_not_odd() -> None:
    assert found(rectangles((0, 0, 10, 10), (10, 0, 20, 10))) == []


def test_overlap_is_told_once_at_the_smaller_cell() -> None:
    # The two share 2 x 10 pixels: of the smaller one's 100 a fifth.
    assert found(rectangles((0, 0, 20, 10), (18, 0, 28, 10))) == [(1, "overlap", 0.2)]
    assert found(rectangles((18, 0, 28, 10), (0, 0, 20, 10))) == [(0, "overlap", 0.2)]


def test_cell_annotated_twice_is_a_duplicate_and_no_overlap() -> None:
    assert found(rectangles((0, 0, 10, 10), (0, 0, 10, 10))) == [(1, "duplicate", 1.0)]


def test_empty_cell() -> None:
    nothing = Runs.from_pixels(np.zeros(0, int), np.zeros(0, int), 1, HEIGHT, WIDTH)
    masks = Runs.concatenate([rectangles((0, 0, 10, 10)), nothing])
    assert found(masks) == [(1, "empty", 1.0)]


def test_pieces_and_holes() -> None:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[0:10, 0:10] = 1
    bitmap[20:25, 20:25] = 1
    assert found(mask(bitmap)) == [(0, "pieces", 0.2)]
    bitmap[20:25] = 0
    bitmap[4, 4] = 0
    assert [(cell, kind) for cell, kind, _ in found(mask(bitmap))] == [(0, "holes")]


def test_outline_that_was_not_filled_is_broken() -> None:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.rectangle(bitmap, (5, 5), (40, 20), 1, 1)
    kinds = {kind for _, kind, _ in found(mask(bitmap))}
    assert kinds == {"broken", "holes"}


def test_each_says_where_it_is_and_what() -> None:
    records = [record(rectangles((0, 0, 5, 5)), "folder/a.png")]
    records.append(record(rectangles((0, 0, 20, 10), (18, 0, 28, 10)), "folder/b.png"))
    (oddity,) = find_oddities(records)
    assert describe(oddity, records) == "b.png, cell 1: shares 20 of its 100 pixels with cell 0"
    assert oddity.share == pytest.approx(0.2)
