"""Maps of known shapes, and which cells they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.pixel_codes.foreground import ForegroundCode, rims, split_cells

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


TWO = np.zeros((9, 14), np.int32)
TWO[1:8, 0:7], TWO[1:8, 7:13] = 1, 2


def test_rim_is_where_a_cell_ends_but_not_where_the_image_does():
    expected = np.zeros_like(TWO)
    expected[1:8, 0:13] = 1
    expected[2:7, 0:6] = 0  # the left cell goes on beyond the image
    expected[2:7, 8:12] = 0
    assert np.array_equal(rims(TWO, 1), expected)
    expected[2, :], expected[6, :] = expected[1, :], expected[7, :]
    expected[2:7, 5] = expected[2:7, 8] = expected[2:7, 11] = 1
    assert np.array_equal(rims(TWO, 2), expected)


class TestForegroundCode:
    def test_cells_that_touch_come_back_with_rims_alone(self):
        with_rims, without = ForegroundCode(boundary_px=1), ForegroundCode()
        assert (with_rims.channels, without.channels) == (2, 1)
        decoded = with_rims.decode(with_rims.encode_labels(TWO).maps)
        assert np.array_equal(decoded.label_map, TWO)
        assert decoded.scores.tolist() == [1.0, 1.0]
        assert len(without.decode(without.encode_labels(TWO).maps)) == 1

    def test_score_is_the_mean_probability_of_the_pixels(self):
        maps = np.zeros((1, 5, 6), np.float32)
        maps[0, 2, 2:4] = 0.6, 0.8
        assert ForegroundCode().decode(maps).scores.tolist() == pytest.approx([0.7])

    def test_cells_are_numbered_in_reading_order(self):
        maps = np.zeros((2, 8, 20), np.float32)
        maps[0, 0:3, 0:3] = maps[0, 2:7, 10:18] = 1
        maps[1, 0:3, 0:3] = 1  # no seed: found after all others
        labels = ForegroundCode(boundary_px=1).decode(maps).label_map
        assert (labels[0, 0], labels[3, 12]) == (1, 2)

    @given(PROBABILITIES, st.integers(0, 5))
    def test_a_region_by_itself_is_decoded_as_in_the_image(self, foreground, seed):
        boundary = np.random.default_rng(seed).random(foreground.shape, dtype=np.float32)
        code, maps = ForegroundCode(boundary_px=1), np.stack([foreground, boundary])
        whole = code.decode(maps)
        regions, count = ndimage.label(code.foreground(maps), np.ones((3, 3)))
        for region in range(1, count + 1):
            part = code.decode(np.where(regions == region, maps, 0))
            inside = np.where(regions == region, whole.label_map, 0)
            cells = np.unique(inside[inside > 0])
            assert np.array_equal(
                part.label_map, np.searchsorted(cells, inside, "left") + (inside > 0)
            )
            assert part.scores.tolist() == whole.scores[cells - 1].tolist()

    @pytest.mark.parametrize(
        "wrong", [dict(boundary_px=0), dict(mask_thr=1.5), dict(seed_thr=-1), dict(min_px=0)]
    )
    def test_numbers_out_of_range(self, wrong):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ForegroundCode(**wrong)
