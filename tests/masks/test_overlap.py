from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.masks import Runs, pairwise_iou


def test_iou_of_rectangles() -> None:
    left, right = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    left[:, :4] = 1  # 16 pixels
    right[:, 2:] = 1  # 16 pixels, 8 of them shared
    both = Runs.concatenate([Runs.from_label_map(left), Runs.from_label_map(right)])
    assert pairwise_iou(both, both) == pytest.approx(np.array([[1, 1 / 3], [1 / 3, 1]]))


def test_nothing_overlaps_nothing() -> None:
    full = Runs.from_label_map(np.ones((2, 3), np.uint8))
    empty = Runs.from_strings([""], 2, 3, order="row")
    assert pairwise_iou(empty, full).tolist() == [[0.0]]
    assert pairwise_iou(empty, empty).tolist() == [[0.0]]
    assert pairwise_iou(full, Runs.empty(2, 3)).shape == (1, 0)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="2 x 3 and 3 x 2"):
        pairwise_iou(Runs.empty(2, 3), Runs.empty(3, 2))
