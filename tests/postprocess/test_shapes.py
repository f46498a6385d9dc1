"""FillHoles, LargestComponent and Smooth against scipy.ndimage on whole images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cellseg_mmdet.postprocess import smooth
from cellseg_mmdet.postprocess.fill_holes import FillHoles
from cellseg_mmdet.postprocess.largest_component import LargestComponent
from cellseg_mmdet.postprocess.smooth import Smooth
from cellseg_mmdet.structures import ImagePrediction
from tests.postprocess.scenes import (
    CLASSES,
    bitmaps_of,
    drawn,
    kept,
    numbered,
    predict,
    predictions,
)

DIAGONAL = np.ones((3, 3), dtype=bool)


def after(step, dense: np.ndarray) -> np.ndarray:
    return bitmaps_of(step(predict(dense)).masks)


# -------------------------------------------------------------------- holes


def test_a_gap_at_a_corner_does_not_lead_out() -> None:
    ring = drawn(".##.", "#..#", "#..#", ".##.")
    assert np.array_equal(after(FillHoles(), ring), drawn(".##.", "####", "####", ".##."))


def test_what_is_open_or_touches_the_border_is_no_hole() -> None:
    for shape in (
        drawn("###", "#..", "###"),
        drawn("#.#", "#.#", "###"),
        drawn("###", "#.#", "#.#"),
    ):
        assert np.array_equal(after(FillHoles(), shape), shape)


def test_a_winding_hole_is_filled_whole_and_a_winding_way_out_is_not() -> None:
    closed = drawn("#######", "#...#.#", "###.#.#", "#.....#", "#######")
    assert after(FillHoles(), closed).all()
    spiral = drawn("#######", "#.....#", "#.###.#", "#.#.#.#", "#.#...#", "#.#####")
    assert np.array_equal(after(FillHoles(), spiral), spiral)


@given(predictions())
def test_fill_holes_is_that_of_scipy(scene: ImagePrediction) -> None:
    result = FillHoles()(scene)
    expected = [ndimage.binary_fill_holes(bitmap) for bitmap in bitmaps_of(scene.masks)]
    assert np.array_equal(bitmaps_of(result.masks), np.reshape(expected, (len(scene), 8, 11)))
    assert FillHoles()(result).masks == result.masks


# -------------------------------------------------------------------- components


def test_a_slanting_branch_stays_on() -> None:
    slanting = drawn("#....", ".#...", "..##.", "....#")
    assert np.array_equal(after(LargestComponent(), slanting), slanting)


def test_the_end_of_a_column_is_not_beside_the_begin_of_the_next() -> None:
    # In the order of the runs these are neighbours.
    apart = drawn(".#.", "...", "#..", "#..")
    assert np.array_equal(after(LargestComponent(), apart), drawn("...", "...", "#..", "#.."))


def test_of_parts_of_equal_size_the_leftmost_stays() -> None:
    assert np.array_equal(
        after(LargestComponent(), drawn(".#.##", ".#...")), drawn(".#...", ".#...")
    )


@given(predictions())
def test_largest_component_is_that_of_scipy(scene: ImagePrediction) -> None:
    result = LargestComponent()(scene)
    for bitmap, found in zip(bitmaps_of(scene.masks), bitmaps_of(result.masks), strict=True):
        # Transposed, scipy numbers the parts from left to right.
        parts, count = ndimage.label(bitmap.T, structure=DIAGONAL)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        expected = np.equal(parts.T, sizes.argmax() + 1) if count else bitmap
        assert np.array_equal(found, expected)
    assert LargestComponent()(result).masks == result.masks


# -------------------------------------------------------------------- smoothing


def disc(radius_px: int) -> np.ndarray:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.hypot(x, y) <= radius_px


def scipy_filter(bitmap: np.ndarray, method: str, radius_px: int) -> np.ndarray:
    """Filter an image that goes on empty around its border."""
    around = 2 * radius_px
    bitmap = np.pad(bitmap, around)
    if method == "median":
        result = ndimage.median_filter(bitmap.astype(np.uint8), 2 * radius_px + 1) > 0
    elif method == "opening":
        result = ndimage.binary_opening(bitmap, disc(radius_px))
    else:
        result = ndimage.binary_closing(bitmap, disc(radius_px))
    return result[around:-around, around:-around]


@given(
    predictions(),
    st.sampled_from(["median", "opening", "closing"]),
    st.integers(1, 3),
)
def test_smoothing_is_that_of_scipy(scene: ImagePrediction, method: str, radius_px: int) -> None:
    result = Smooth(radius_px, method)(numbered(scene))
    expected = [scipy_filter(bitmap, method, radius_px) for bitmap in bitmaps_of(scene.masks)]
    left = [number for number, bitmap in enumerate(expected) if bitmap.any()]
    assert kept(result) == left
    assert np.array_equal(result.scores, scene.scores[left])
    for bitmap, number in zip(bitmaps_of(result.masks), left, strict=True):
        assert np.array_equal(bitmap, expected[number])


@given(predictions(), st.sampled_from(["opening", "closing"]), st.integers(1, 3))
def test_a_second_opening_or_closing_changes_nothing(
    scene: ImagePrediction, method: str, radius_px: int
) -> None:
    once = Smooth(radius_px, method)(scene)
    assert Smooth(radius_px, method)(once).masks == once.masks


@given(scene=predictions())
def test_masks_are_filtered_the_same_in_small_batches(scene: ImagePrediction) -> None:
    at_once = Smooth(1)(scene)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smooth, "_MAX_CANVAS_PX", 50)
        in_batches = Smooth(1)(scene)
    assert at_once.masks == in_batches.masks


def test_the_radius_may_differ_per_class() -> None:
    line = drawn(".....", ".###.", ".....")
    scene = numbered(predict(np.concatenate([line] * 4), labels=[0, 1, 0, 2]))
    step = Smooth({"default": 0, "astro": 1}, "opening", classes=CLASSES)
    assert kept(step(scene)) == [1, 3]


@pytest.mark.parametrize("method", ["median", "closing"])
def test_what_may_grow_says_so(method: str) -> None:
    assert Smooth(1, method).grows_masks
    assert not Smooth(1, "opening").grows_masks
