"""Pieces of one field are found, and what only looks alike is not one field."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.converters.source_groups import (
    Look,
    group_looks,
    group_records,
    look_of,
    overlaps,
    seams,
    similar_looks,
)
from cellseg_mmdet.images import Image, read_image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord


def field(seed: int, side_px: int = 256, *, level: int = 20, nuclei: int = 60) -> np.ndarray:
    """Return a field of bright nuclei, blurred as by a microscope, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    picture = np.full((side_px, side_px), level, np.float32)
    for x, y in rng.integers(0, side_px, (nuclei, 2)).tolist():
        axes = rng.integers(4, 10, 2).tolist()
        cv2.ellipse(picture, (x, y), axes, rng.uniform(0, 180), 0, 360, level + 100, -1)
    picture += cv2.GaussianBlur(rng.normal(0, 20, picture.shape), (0, 0), 4).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (0, 0), 2) + rng.normal(0, 0.5, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def look(pixels: np.ndarray) -> Look:
    return look_of(read_image(pixels))


def test_four_quarters_of_a_field_are_one() -> None:
    whole = field(5)
    quarters = [look(whole[y : y + 128, x : x + 128]) for y in (0, 128) for x in (0, 128)]
    assert sorted(seams(quarters)) == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_edges_of_pieces_of_other_heights_meet() -> None:
    whole = field(1)
    assert seams([look(whole[:100]), look(whole[100:])]) == [(0, 1)]


def test_a_step_at_the_seam_is_no_seam() -> None:
    whole = field(2)
    other = whole.copy()
    other[128:] = (whole[128:] * 0.6).astype(np.uint8)  # correlates as before
    assert seams([look(whole[:128]), look(other[128:])]) == []


def test_other_fields_of_a_plate_have_no_seams_and_no_overlaps() -> None:
    looks = [look(field(seed)) for seed in range(8)]
    assert seams(looks) == [] == overlaps(looks)


@settings(max_examples=15)
@given(st.integers(0, 60), st.integers(-60, 60), st.integers(0, 5))  # half of a window is shared
def test_windows_of_a_field_that_overlap_are_found(dy: int, dx: int, seed: int) -> None:
    whole = field(seed, 400, nuclei=150)
    first = whole[90 : 90 + 220, 90 : 90 + 220]
    second = whole[90 + dy : 90 + dy + 220, 90 + dx : 90 + dx + 220]
    assert overlaps([look(first), look(field(9, 220)), look(second)]) == [(0, 2)]


def test_the_same_field_at_another_exposure_is_found() -> None:
    whole = field(3)
    assert overlaps([look(whole), look((whole * 0.5).astype(np.uint8))]) == [(0, 1)]


def test_one_nucleus_each_is_no_overlap() -> None:
    # The bright nuclei lie on each other when moved; the background tells that these are two fields.
    looks = [look(field(seed, nuclei=1)) for seed in (4, 5, 6)]
    assert overlaps(looks) == []


@pytest.mark.parametrize("level", [0, 255])
def test_empty_pictures_are_no_pieces(level: int) -> None:
    empty = look(np.full((64, 64), level, np.uint8))
    assert seams([empty, empty]) == [] == overlaps([empty, empty])


def test_looks_join_a_plate_and_leave_others_apart() -> None:
    plates = [field(seed, level=level) for level in (20, 120) for seed in (0, 1, 2)]
    pairs = similar_looks([look(pixels) for pixels in plates], np.arange(6))
    assert pairs == [(0, 1), (1, 2), (3, 4), (4, 5)]


def test_a_chain_of_small_differences_is_cut() -> None:
    looks = [look(np.full((32, 32), level, np.uint8)) for level in range(0, 200, 4)]
    groups = group_looks(looks, [f"{index:02}" for index in range(len(looks))])
    assert len(set(groups)) > 5


def test_size_and_modality_divide() -> None:
    stained = np.dstack([240 - field(0), 220 - field(0), 235 - field(0)])
    looks = [look(field(0)), look(field(1, 200)), look(stained)]
    names = group_looks(looks, ["a", "b", "c"])
    assert names == ["256x256 fluorescence 1", "200x200 fluorescence 1", "256x256 stained 1"]


def test_pieces_stay_together_where_they_look_unlike() -> None:
    whole = field(7)
    whole[:, 128:] = np.maximum(whole[:, 128:], 90)  # half of it is full of light
    whole[:, 126:130] = cv2.GaussianBlur(whole, (0, 0), 3)[:, 126:130]
    pieces = [look(np.ascontiguousarray(part)) for part in (whole[:128], whole[128:])]
    others = [look(field(8)[:128])]
    groups = group_looks([*pieces, *others], ["a", "b", "c"])
    assert groups[0] == groups[1] != groups[2]


@settings(max_examples=10)
@given(st.permutations(range(9)))
def test_the_order_of_the_images_is_all_one(order: list[int]) -> None:
    whole = field(0)
    pictures = [whole[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128)]
    pictures += [field(seed, 128, level=level) for level in (20, 150) for seed in (1, 2)]
    pictures += [field(5, 100)]
    names = [f"{index}.png" for index in range(9)]
    expected = group_looks([look(picture) for picture in pictures], names)
    found = group_looks([look(pictures[i]) for i in order], [names[i] for i in order])
    assert found == [expected[i] for i in order]


@pytest.mark.parametrize("number", [0, 1])
def test_none_and_one(number: int) -> None:
    names = group_looks([look(field(0))] * number, ["a.png"] * number)
    assert names == ["256x256 fluorescence 1"] * number


PICTURES = {"p": field(0), "q": field(0), "r": 255 - field(1)}


def read(path: str) -> Image:
    return read_image(PICTURES[path])


def test_records_get_their_groups() -> None:
    records = [ImageRecord(f"{i}.png", 256, 256, Runs.empty(256, 256), ()) for i in range(3)]
    a, b, c = group_records(records, ["p", "r", "q"], read, workers=1)
    assert a.group == c.group == "256x256 fluorescence 1"
    assert (b.group, b.file_name) == ("256x256 brightfield 1", "1.png")
