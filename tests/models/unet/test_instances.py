"""Maps of known shapes, and which cells they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from cellseg_mmdet.models.unet import split_cells

PROBABILITIES = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.9, 1.0]),
)


def disc(x: int, y: int, radius: int, size: int = 60) -> np.ndarray:
    return cv2.circle(np.zeros((size, size), np.uint8), (x, y), radius, 1, -1).astype(np.float32)


def test_foreground_alone_gives_its_connected_parts():
    foreground = disc(15, 15, 9) + disc(44, 40, 12)
    labels = split_cells(foreground)
    assert labels.dtype == np.int32
    assert np.array_equal(labels, ndimage.label(foreground)[0])


def test_rims_part_cells_that_touch():
    left, right = disc(20, 30, 12), disc(41, 30, 12)
    left[right > 0] = 0
    rims = [part - cv2.erode(part, np.ones((3, 3), np.uint8)) for part in (left, right)]
    labels = split_cells(left + right, np.maximum(*rims))
    # One pixel of the seam may be as near to either.
    assert labels.max() == 2
    found_left = labels == labels[30, 20]
    assert np.count_nonzero(found_left != (left > 0)) <= 4
    assert np.array_equal(labels > 0, left + right > 0)


def test_cells_meet_on_the_ridge_though_one_seed_is_farther():
    foreground = np.ones((1, 21), np.float32)
    boundary = np.full((1, 21), 0.55, np.float32)  # too high for a seed
    boundary[0, :2] = boundary[0, 17:] = 0.0
    boundary[0, 14] = 0.95
    labels = split_cells(foreground, boundary)
    assert labels[0, :14].tolist() == [1] * 14
    assert labels[0, 15:].tolist() == [2] * 6


def test_foreground_without_a_seed_is_a_cell():
    foreground = disc(15, 15, 9) + disc(44, 40, 3)
    boundary = disc(44, 40, 3)
    labels = split_cells(foreground, boundary)
    assert np.array_equal(labels, ndimage.label(foreground)[0])


def test_specks_are_dropped():
    foreground = disc(15, 15, 9)
    foreground[50, 50] = foreground[50, 51] = 1
    assert split_cells(foreground, min_px=2).max() == 2
    assert split_cells(foreground, min_px=3).max() == 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_even_image(value):
    foreground = np.full((5, 7), value, np.float32)
    assert np.array_equal(split_cells(foreground), foreground.astype(np.int32))


@given(PROBABILITIES)
def test_without_rims_as_scipy_labels(foreground):
    labels, expected = split_cells(foreground), ndimage.label(foreground > 0.5)[0]
    pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(PROBABILITIES, st.integers(0, 5), st.integers(1, 4))
def test_cells_are_connected_part_the_foreground_and_are_numbered_through(foreground, seed, min_px):
    boundary = np.random.default_rng(seed).random(foreground.shape, dtype=np.float32)
    labels = split_cells(foreground, boundary, seed_thr=0.4, min_px=min_px)
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))
    assert not labels[foreground <= 0.5].any()
    for cell in range(1, labels.max() + 1):
        assert ndimage.label(labels == cell)[1] == 1
        assert np.count_nonzero(labels == cell) >= min_px
    if min_px == 1:
        assert np.array_equal(labels > 0, foreground > 0.5)
