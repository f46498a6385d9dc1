from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from cellseg_mmdet.masks import Runs, overlap, pairwise_intersection, pairwise_iou


def runs_of(masks: np.ndarray) -> Runs:
    encoded = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    return Runs.from_coco(encoded, *masks.shape[1:])


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return tuple(
        draw(hnp.arrays(np.uint8, (draw(st.integers(0, 4)), *size), elements=st.integers(0, 1)))
        for _ in range(2)
    )


@given(two_sets())
def test_intersections_by_counting_pixels(masks: tuple[np.ndarray, np.ndarray]) -> None:
    expected = np.einsum("nhw,mhw->nm", *(mask.astype(int) for mask in masks))
    first, second = (runs_of(mask) for mask in masks)
    assert np.array_equal(pairwise_intersection(first, second), expected)
    if expected.size:
        assert np.array_equal(overlap._intersection_by_pycocotools(first, second), expected)


@given(two_sets())
def test_iou_is_that_of_pycocotools(masks: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (runs_of(mask) for mask in masks)
    found = pairwise_iou(first, second)
    assert found.shape == (len(first), len(second))
    if found.size:
        expected = coco_mask.iou(first.to_coco(), second.to_coco(), [0] * len(second))
        assert np.allclose(found, np.nan_to_num(expected))


def test_iou_of_rectangles() -> None:
    left, right = np.zeros((2, 4, 6), np.uint8)
    left[:, :4] = 1  # 16 pixels
    right[:, 2:] = 1  # 16 pixels, 8 of them shared
    both = runs_of(np.stack([left, right]))
    assert pairwise_iou(both, both) == pytest.approx(np.array([[1, 1 / 3], [1 / 3, 1]]))


def test_huge_masks_take_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = runs_of(np.random.default_rng(0).integers(0, 2, (3, 20, 20)).astype(np.uint8))
    expected = pairwise_iou(masks, masks)
    monkeypatch.setattr(overlap, "_MAX_RUN_PAIRS", 0)
    assert np.allclose(pairwise_iou(masks, masks), expected)


def test_nothing_overlaps_nothing() -> None:
    full = Runs.from_label_map(np.ones((2, 3), np.uint8))
    empty = Runs.from_strings([""], 2, 3, order="row")
    assert pairwise_iou(empty, full).tolist() == [[0.0]]
    assert pairwise_iou(empty, empty).tolist() == [[0.0]]
    assert pairwise_iou(full, Runs.empty(2, 3)).shape == (1, 0)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="2 x 3 and 3 x 2"):
        pairwise_iou(Runs.empty(2, 3), Runs.empty(3, 2))
