"""Regions are decoded each by itself: what exact tiles stand on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.pixel_codes import PixelCode
from cellseg_mmdet.pixel_codes.regions import connected_parts, renumbered, sort_pixels
from tests.pixel_codes.scenes import CONFIGS, cells, code_of

every_code = pytest.mark.parametrize("name", CONFIGS)
label_maps = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(
        0, 3, np.random.default_rng(seed).integers(1, 14, 2), dtype=np.int32
    )
)


@given(label_map=label_maps, diagonal=st.booleans())
def test_parts_are_those_of_scipy_in_reading_order(label_map: np.ndarray, diagonal: bool) -> None:
    parts, count = connected_parts(label_map, diagonal=diagonal)
    structure = ndimage.generate_binary_structure(2, 1 + diagonal)
    expected = sum(ndimage.label(label_map == label, structure)[1] for label in (1, 2))
    assert count == expected == parts.max(initial=0)
    for part in range(1, count + 1):
        assert len(np.unique(label_map[parts == part])) == 1
        assert ndimage.label(parts == part, structure)[1] == 1
    ids, first = np.unique(parts, return_index=True)
    assert (np.diff(first[ids > 0]) > 0).all()
    assert ((parts > 0) == (label_map > 0)).all()


@given(label_map=label_maps)
def test_pixels_are_listed_part_by_part(label_map: np.ndarray) -> None:
    parts, count = connected_parts(label_map)
    pixels, offsets = sort_pixels(parts, count)
    assert len(offsets) == count + 1 and offsets[-1] == len(pixels)
    for part in range(count):
        own = pixels[offsets[part] : offsets[part + 1]]
        assert own.tolist() == np.flatnonzero(parts.ravel() == part + 1).tolist()


def test_labels_that_are_not_kept_leave_no_gap() -> None:
    labels = np.array([[0, 1, 2, 3]], dtype=np.int32)
    assert renumbered(labels, np.array([True, False, True])).tolist() == [[0, 1, 0, 2]]
    assert renumbered(labels[:, :1], np.zeros(0, dtype=bool)).tolist() == [[0]]


def check_regions(code: PixelCode, maps: np.ndarray, margin: int) -> None:
    """Decode each region from a window around it; nothing but the region's own pixels may matter."""
    maps = maps.astype(np.float32)
    whole = code.decode(maps)
    regions, count = connected_parts(code.foreground(maps))
    seen = 0
    for region, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        window = np.s_[
            max(rows.start - margin, 0) : rows.stop + margin,
            max(columns.start - margin, 0) : columns.stop + margin,
        ]
        own = regions[window] == region
        part = maps[(slice(None), *window)].copy()
        other = (regions[window] > 0) & ~own
        part[:, other] = -1e3  # no foreground
        part[1:, other] = 7
        found = code.decode(part)
        labels = np.where(own, whole.label_map[window], 0)
        ids = np.unique(labels[labels > 0])
        table = np.zeros(len(whole) + 1, dtype=np.int32)
        table[ids] = np.arange(1, len(ids) + 1)
        assert np.array_equal(found.label_map, table[labels])
        assert np.array_equal(found.scores, whole.scores[ids - 1])
        seen += len(found)
    assert seen == len(whole) and count >= 0


@every_code
@settings(max_examples=30)
@given(true=cells(), margin=st.integers(1, 2), seed=st.integers(0, 99))
def test_a_region_alone_gives_what_it_gives_among_others(
    name: str, true: Runs, margin: int, seed: int
) -> None:
    code = code_of(name)
    maps = code.encode(true).maps
    check_regions(code, maps, margin)
    noisy = maps + np.random.default_rng(seed).normal(0, 0.3, maps.shape)
    check_regions(code, noisy, margin)


@every_code
@pytest.mark.parametrize("seed", range(2))
def test_regions_of_noise(name: str, seed: int) -> None:
    code, rng = code_of(name), np.random.default_rng(seed)
    maps = np.stack(
        [ndimage.gaussian_filter(rng.normal(0, 6, (60, 50)), 2) + 0.4 for _ in range(code.channels)]
    )
    check_regions(code, maps, 1)
