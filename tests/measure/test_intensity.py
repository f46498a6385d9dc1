from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import regionprops

from cellseg_mmdet.measure import intensity
from cellseg_mmdet.measure.intensity import MEASURES, Ring, covered_pixels, intensities_of
from tests.measure.cells import bitmaps, disc, masks_of, one


def measured(
    cells: np.ndarray, picture: np.ndarray, ring: Ring | None = None
) -> list[dict[str, np.ndarray]]:
    picture = picture if picture.ndim == 3 else picture[..., None]
    values = intensities_of(masks_of(*cells), lambda y1, y2: picture[y1:y2], picture.shape[2], ring)
    return [dict(zip(MEASURES, of_cell.T, strict=True)) for of_cell in values]


@settings(max_examples=30)
@given(
    bitmaps(),
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
def test_as_scikit_image_has_it(bitmap: np.ndarray, kind: type, channels: int, seed: int) -> None:
    picture = (np.random.default_rng(seed).random((*bitmap.shape, channels)) * 250).astype(kind)
    (found,) = measured(bitmap[None], picture)
    (region,) = regionprops(bitmap.astype(int), picture.astype(np.float64))
    for ours, theirs in {
        "mean": region.intensity_mean,
        "median": region.intensity_median,
        "min": region.intensity_min,
        "max": region.intensity_max,
        "std": region.intensity_std,
        "integrated": picture[bitmap].astype(np.float64).sum(axis=0),
    }.items():
        np.testing.assert_allclose(found[ours], theirs, rtol=1e-6, atol=1e-6, err_msg=ours)


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from([1, 40, 1 << 22]),
)
def test_the_ring_is_where_the_distance_says(
    seed: int, count: int, gap: int, width: int, values_at_once: int
) -> None:
    rng = np.random.default_rng(seed)
    cells = np.zeros((count, 22, 27), bool)
    for cell in cells:
        y, x, high, wide = *rng.integers(0, 22, 2), *rng.integers(1, 8, 2)
        cell[y : y + high, x : x + wide] = True
    picture = rng.integers(0, 65536, (22, 27), dtype=np.uint16)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(intensity, "_VALUES_AT_ONCE", values_at_once)
        found = measured(cells, picture, Ring(gap, width))
    for cell, of_cell in zip(cells, found, strict=True):
        distance = ndimage.distance_transform_edt(~cell)
        ring = ~cells.any(axis=0) & (distance > gap) & (distance <= gap + width)
        expected = np.median(picture[ring]) if ring.any() else np.nan
        np.testing.assert_array_equal(of_cell["background"], [expected])
        np.testing.assert_allclose(of_cell["mean"], [picture[cell].mean()])


def test_background_and_contrast_of_a_disc_on_gray() -> None:
    cell = disc(8, 41)
    picture = np.where(cell, 3000, 1000).astype(np.uint16)
    (found,) = measured(cell[None], picture)
    assert [found[name][0] for name in MEASURES] == [
        3000, 3000, 3000, 3000, 0, 3000 * cell.sum(), 1000, 0.5,
    ]  # fmt: skip


def test_other_cells_are_no_background() -> None:
    cells = np.zeros((2, 9, 20), bool)
    cells[0, 3:6, 3:6] = cells[1, 3:6, 9:12] = True
    picture = np.where(cells[1], 200, 10).astype(np.uint8)
    first, _ = measured(cells, picture, Ring(0, 9))
    assert first["background"] == [10]


def test_overlapping_cells_are_measured_on_all_their_pixels() -> None:
    cells = np.zeros((2, 5, 8), bool)
    cells[0, :, :5] = cells[1, :, 3:] = True
    picture = np.arange(40).reshape(5, 8)
    found = measured(cells, picture)
    assert [of_cell["integrated"][0] for of_cell in found] == [
        picture[cell].sum() for cell in cells
    ]


def test_a_picture_full_of_cells_has_no_background() -> None:
    (found,) = measured(np.ones((1, 4, 4), bool), np.ones((4, 4)))
    assert np.isnan(found["background"]) and np.isnan(found["contrast"])
    assert found["mean"] == 1


def test_black_on_black_has_no_contrast() -> None:
    (found,) = measured(disc(3, 31)[None], np.zeros((31, 31)))
    assert found["background"] == 0 and np.isnan(found["contrast"])


def test_nan_is_nan_in_its_cell_and_left_out_of_the_background() -> None:
    cell = disc(3, 31)
    picture = np.ones((31, 31, 2))
    picture[15, 15, 0] = np.nan
    picture[15, 20, 1] = np.nan
    (found,) = measured(cell[None], picture)
    assert np.isnan(found["mean"]).tolist() == [True, False]
    assert np.isnan(found["integrated"]).tolist() == [True, False]
    assert found["background"].tolist() == [1, 1]


def test_no_cell_and_one_without_a_pixel() -> None:
    picture = np.ones((4, 4, 2))
    nothing = intensities_of(masks_of(np.zeros((4, 4)))[:0], lambda y1, y2: picture[y1:y2], 2)
    assert nothing.shape == (0, 2, len(MEASURES))
    empty, _ = measured(np.array([np.zeros((4, 4)), np.eye(4)]), picture)
    assert all(np.isnan(values).all() for values in empty.values())


def test_only_the_rows_of_the_cells_are_read() -> None:
    asked = []

    def read(y1: int, y2: int) -> np.ndarray:
        asked.append((y1, y2))
        return np.zeros((y2 - y1, 50, 1))

    cell = np.zeros((1000, 50), bool)
    cell[500:510, 20:30] = True
    intensities_of(one(cell), read, 1, Ring(2, 5))
    assert asked == [(493, 517)]


def test_covered_pixels_count_shared_ones_once() -> None:
    cells = np.zeros((2, 4, 6), bool)
    cells[0, :, :4] = cells[1, :, 3:] = True
    assert covered_pixels(masks_of(*cells)) == 24
