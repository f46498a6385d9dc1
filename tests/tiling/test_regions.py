"""Decoding by region gives what decoding at once gives, cell by cell and bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import pairwise_iou
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.models.pixel.detector import PixelCells
from cellseg_mmdet.tiling.merge import first_pixels
from cellseg_mmdet.tiling.regions import _regions_of, decode_by_region, find_regions
from cellseg_mmdet.tiling.sized_maps import SizedMaps
from tests.tiling.networks import unet_detector

CODES = ["FlowCode", "RimCode", "StarCode", "BoundaryDistanceCode"]


def maps_for(detector: PixelDetector, size_hw: tuple[int, int], seed: int) -> np.ndarray:
    """Return smooth random maps, with regions of all sizes."""
    rng = np.random.default_rng(seed)
    count = sum(group.channels for group in detector.groups)
    noise = ndimage.gaussian_filter(rng.standard_normal((count, *size_hw)), (0, 2, 2)) * 4
    maps = noise.astype(np.float32)
    probabilities = 1 / (1 + np.exp(-maps))
    begin = 0
    for group in detector.groups:
        part = slice(begin, begin + group.channels)
        if group.activation == "sigmoid":
            maps[part] = probabilities[part]
        elif group.turning == "rays":
            maps[part] = np.abs(maps[part]).clip(0, 6)
        begin += group.channels
    return maps


def assert_same(found: PixelCells, wanted: PixelCells) -> None:
    assert found.masks == wanted.masks
    np.testing.assert_array_equal(found.scores, wanted.scores)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert (found.soft_masks is None) == (wanted.soft_masks is None)
    if wanted.soft_masks is not None:
        # Where bins lie is computed with the window's coordinates: a value may round to the other side.
        assert found.soft_masks is not None
        difference = found.soft_masks.astype(int) - wanted.soft_masks
        assert np.abs(difference).max(initial=0) <= 1


@pytest.fixture(scope="module", params=CODES)
def detector(request: pytest.FixtureRequest) -> PixelDetector:
    return unet_detector(request.param, num_classes=2, soft_masks=True)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    block=st.integers(5, 60),
    band_pixels=st.integers(1, 3000),
    seed=st.integers(0, 1000),
)
def test_by_region_is_at_once(detector, height, width, block, band_pixels, seed) -> None:
    maps = maps_for(detector, (height, width), seed)
    sized = SizedMaps(maps, (height, width), detector.code)
    found = decode_by_region(detector, sized, block=block, band_pixels=band_pixels)
    assert_same(found, detector.decoded(maps))


def test_a_region_that_surrounds_others() -> None:
    detector = unet_detector("RimCode")
    maps = np.zeros((2, 60, 60), np.float32)
    maps[0, 5:55, 5:55] = 0.9
    maps[0, 10:50, 10:50] = 0.0
    maps[0, 20:30, 20:30] = 0.8
    sized = SizedMaps(maps, (60, 60), detector.code)
    found = decode_by_region(detector, sized, block=16, band_pixels=200)
    assert_same(found, detector.decoded(maps))
    assert len(found.scores) == 2


def test_regions_over_many_bands() -> None:
    detector = unet_detector("RimCode")
    maps = np.zeros((2, 9, 9), np.float32)
    maps[0, :, 0] = maps[0, :, 8] = maps[0, 8] = 0.9  # a U, one only from its last row on
    sized = SizedMaps(maps, (9, 9), detector.code)
    regions = find_regions(detector, sized, band_pixels=1)
    assert regions.first.tolist() == [0]
    assert regions.boxes.tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize("code", CODES)
def test_a_region_too_large_for_the_memory_is_decoded_in_windows(code: str) -> None:
    detector = unet_detector(code)
    maps = maps_for(detector, (150, 170), 3)
    sized = SizedMaps(maps, (150, 170), detector.code)
    regions = find_regions(detector, sized, 1000)
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2] + 2
    most_px = 70 * 70
    is_large = sides.prod(axis=1) > most_px
    assert is_large.any() and not is_large.all()
    seen: list[int] = []
    decoded = detector.decoded

    def watched(maps: np.ndarray, **options: bool) -> PixelCells:
        seen.append(maps.shape[1] * maps.shape[2])
        return decoded(maps, **options)

    detector.decoded = watched
    notes: list[str] = []
    found = decode_by_region(
        detector, sized, block=20, band_pixels=1000, most_px=most_px, notes=notes
    )
    del detector.decoded
    # Cores of 64 pixels with 32 around them are the smallest windows.
    assert max(seen) <= 128 * 128 < 150 * 170
    (note,) = notes
    assert "would not fit the memory; predicted in" in note and "not equal" in note
    whole = detector.decoded(maps)
    # What is no part of the large ones is as it was, in the same order.
    first = first_pixels(whole.masks)
    of_large = is_large[_regions_of(detector, sized, regions, 1000, first)]
    mine = is_large[_regions_of(detector, sized, regions, 1000, first_pixels(found.masks))]
    assert_same(_some(found, ~mine), _some(whole, ~of_large))
    assert mine.any() and (np.diff(first_pixels(found.masks)) > 0).all()
    shared = pairwise_iou(found.masks[mine], whole.masks[of_large]).max(axis=0)
    assert (shared > 0.5).mean() > 0.6


def test_a_picture_that_is_one_region_is_decoded_in_windows_as_it_is_at_once() -> None:
    detector = unet_detector("RimCode")
    side, step = 220, 22
    maps = np.full((2, side, side), 0.9, np.float32)
    maps[1] = 0.0
    maps[1, ::step] = maps[1, :, ::step] = 0.9  # rims around squares
    sized = SizedMaps(maps, (side, side), detector.code)
    assert len(find_regions(detector, sized, 4000)) == 1
    whole = detector.decoded(maps)
    found = decode_by_region(detector, sized, band_pixels=4000, most_px=150 * 150)
    assert len(whole.masks) == 100
    assert found.masks == whole.masks


def _some(cells: PixelCells, index: np.ndarray) -> PixelCells:
    soft = None if cells.soft_masks is None else cells.soft_masks[index]
    return PixelCells(cells.masks[index], cells.scores[index], cells.labels[index], soft)


def test_no_cells() -> None:
    detector = unet_detector("FlowCode", num_classes=2, soft_masks=True)
    maps = np.zeros((5, 20, 30), np.float32)
    sized = SizedMaps(maps, (20, 30), detector.code)
    assert_same(decode_by_region(detector, sized), detector.decoded(maps))


def test_what_is_not_finite_is_told() -> None:
    detector = unet_detector("FlowCode")
    maps = np.full((3, 20, 30), 0.9, np.float32)
    maps[1, 4, 5] = np.nan
    with pytest.raises(DataError, match="not finite"):
        decode_by_region(detector, SizedMaps(maps, (20, 30), detector.code))


@settings(max_examples=20)
@given(
    old=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    data=st.data(),
)
def test_resized_where_it_is_read(old, new, data) -> None:
    detector = unet_detector("StarCode")
    maps = maps_for(detector, old, 0)
    y0, x0 = (data.draw(st.integers(0, side - 1)) for side in new)
    y1, x1 = data.draw(st.integers(y0 + 1, new[0])), data.draw(st.integers(x0 + 1, new[1]))
    whole = detector.resized(torch.from_numpy(maps), new).numpy()
    found = SizedMaps(maps, new, detector.code).read(y0, x0, y1, x1)
    np.testing.assert_allclose(found, whole[:, y0:y1, x0:x1], rtol=1e-5, atol=1e-5)
