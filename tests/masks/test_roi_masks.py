"""`RoIMasks` against mmdet's `BitmapMasks`: each geometric method, and chains of them, give the same pixels."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.masks import RoIMasks
from tests.masks.roi_scenes import GEOMETRY, assert_same, scenes, stock


@pytest.mark.parametrize("method", GEOMETRY)
@given(masks=scenes(), data=st.data())
def test_each_method_is_that_of_mmdet(method: str, masks: np.ndarray, data: st.DataObject) -> None:
    arguments = GEOMETRY[method](data.draw, *masks.shape[1:])
    ours = getattr(RoIMasks.from_ndarray(masks), method)(**arguments)
    theirs = getattr(stock(masks), method)(**arguments)
    assert_same(ours, theirs)
    assert np.array_equal(ours.tight_boxes, RoIMasks.from_ndarray(theirs.to_ndarray()).boxes)


@given(masks=scenes(), data=st.data())
def test_chains_of_methods_are_those_of_mmdet(masks: np.ndarray, data: st.DataObject) -> None:
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks)
    for method in data.draw(st.lists(st.sampled_from(sorted(GEOMETRY)), min_size=2, max_size=6)):
        arguments = GEOMETRY[method](data.draw, theirs.height, theirs.width)
        ours = getattr(ours, method)(**arguments)
        theirs = getattr(theirs, method)(**arguments)
    assert_same(ours, theirs)


@given(scenes(), st.integers(-5, 9))
def test_quarter_turns_are_those_of_numpy(masks: np.ndarray, num_turns: int) -> None:
    turned = RoIMasks.from_ndarray(masks).rotate90(num_turns)
    assert_same(turned, stock(np.rot90(masks, num_turns, axes=(1, 2))))


@given(scenes())
def test_transposing_exchanges_rows_and_columns(masks: np.ndarray) -> None:
    transposed = RoIMasks.from_ndarray(masks).transpose()
    assert_same(transposed, stock(masks.transpose(0, 2, 1)))


@given(scenes(), st.integers(0, 50), st.integers(0, 2**32))
def test_maps_are_looked_up_pixel_by_pixel(masks: np.ndarray, reach: int, seed: int) -> None:
    _, height, width = masks.shape
    rng = np.random.default_rng(seed)
    shift_x, shift_y = rng.integers(-reach, reach + 1, (2, height, width))
    source_x = np.arange(width) + shift_x
    source_y = np.arange(height)[:, None] + shift_y
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    looked_up = masks[:, source_y.clip(0, height - 1), source_x.clip(0, width - 1)]
    found = RoIMasks.from_ndarray(masks).remap(source_x, source_y)
    assert_same(found, stock(np.where(inside, looked_up, 0)))


def all_look_ups(masks: RoIMasks) -> list[RoIMasks]:
    size = masks.height, masks.width
    source_y, source_x = np.indices(size)[:, ::-1]
    moved = [masks.rotate(size, 30), masks.rotate(size, 30, interpolation="nearest")]
    return [*moved, masks.resize((33, 44)), masks.transpose(), masks.remap(source_x, source_y)]


@given(scenes(max_instances=3), st.integers(1, 100))
def test_no_pixel_is_lost_between_what_is_looked_up_at_once(
    masks: np.ndarray, pixels_at_once: int
) -> None:
    ours = RoIMasks.from_ndarray(masks)
    at_once = all_look_ups(ours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cellseg_mmdet.masks.roi_sampling._PIXELS_AT_ONCE", pixels_at_once)
        assert all_look_ups(ours) == at_once


def test_a_turn_by_90_degrees_by_hand() -> None:
    masks = np.array([[[1, 1, 1], [0, 0, 1], [0, 0, 0]]], dtype=np.uint8)
    clockwise = [[[0, 0, 1], [0, 0, 1], [0, 1, 1]]]
    found = RoIMasks.from_ndarray(masks).rotate((3, 3), 90)
    assert found.to_ndarray().tolist() == clockwise
    assert found == RoIMasks.from_ndarray(masks).rotate90(-1)


def test_boxes_that_are_not_tight_are_made_so() -> None:
    loose = RoIMasks(np.array([[1, 2, 4, 6], [0, 0, 2, 2]]), np.zeros(16, np.uint8), 10, 10)
    loose.bitmap(0)[1, 2] = 1
    tight = loose.tightened()
    assert tight == loose
    assert tight.boxes.tolist() == [[3, 3, 4, 4], [0, 0, 0, 0]]
    assert tight.bitmaps.tolist() == [1]


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.translate((10, 12), 3.5),
        lambda m: m.shear((10, 12), -0.5),
        lambda m: m.rotate((10, 12), 20),
        lambda m: m.remap(*np.indices((10, 12))[::-1]),
    ],
)
def test_what_is_moved_stays_in_tight_boxes(call: Callable[[RoIMasks], RoIMasks]) -> None:
    loose = square()[[0, 0]]
    loose.bitmaps[16:20] = 0
    found = call(loose)
    assert found.areas.all()
    assert np.array_equal(found.boxes, found.tight_boxes)


def square() -> RoIMasks:
    return RoIMasks(np.array([[2, 3, 6, 7]]), np.ones(16, np.uint8), 10, 12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m.resize((20, 24), interpolation="bicubic"),
            "'nearest' or 'bilinear'; got 'bicubic'",
        ),
        (lambda m: m.resize((0, 5)), "cannot be resized to 0 x 5"),
        (lambda m: m.rescale(0.01), "cannot be resized to 0 x 0"),
        (lambda m: m.flip("left"), "'horizontal' or 'vertical' or 'diagonal'; got 'left'"),
        (lambda m: m.pad((9, 12)), r"10 x 12 to \(9, 12\)"),
        (lambda m: m.pad((20, 20), pad_val=255), "padded with 0.*got 255"),
        (lambda m: m.expand(8, 12, 4, 0), r"box \[2, 7, 6, 11\] of instance 0"),
        (lambda m: m.translate((10, 12), 1, "diagonal"), "'both'; got 'diagonal'"),
        (lambda m: m.translate((10, 12), 1, border_value=1), "border_value=1"),
        (lambda m: m.shear((10, 12), 1, "both"), "'vertical'; got 'both'"),
        (lambda m: m.shear((10, 10), 1), r"\(10, 10\) is not that of the masks, \(10, 12\)"),
        (lambda m: m.rotate((12, 10), 1), r"\(12, 10\) is not that of the masks, \(10, 12\)"),
        (lambda m: m.rotate((10, 12), 1, scale=0), "scaled by 0"),
        (lambda m: m.rotate((10, 12), 1, interpolation="area"), "'bilinear'; got 'area'"),
        (lambda m: m.remap(np.zeros((10, 12), int), np.zeros((12, 10), int)), r"\(12, 10\)"),
    ],
)
def test_what_masks_cannot_do_is_said(call: Callable[[RoIMasks], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(square())


# A thousand cells on 2,000 x 2,000 pixels: 4 GB as BitmapMasks.
SIDE = 2000
METHODS: dict[str, Callable[[RoIMasks], Any]] = {
    "rle": lambda m: RoIMasks.from_rle(m.to_rle()),
    "select": lambda m: m[np.arange(len(m)) % 2 == 0],
    "cat": lambda m: RoIMasks.cat([m, m]),
    "areas": lambda m: m.areas,
    "tight boxes": lambda m: m.tight_boxes,
    "resize": lambda m: m.resize((3000, 2500)),
    "rescale": lambda m: m.rescale(1.3),
    "flip": lambda m: m.flip("diagonal"),
    "transpose": lambda m: m.transpose(),
    "pad": lambda m: m.pad((3000, 3000)),
    "expand": lambda m: m.expand(4000, 4000, 1000, 1000),
    "crop": lambda m: m.crop(np.array([300, 300, 1700, 1700])),
    "translate": lambda m: m.translate((SIDE, SIDE), 12.5),
    "shear": lambda m: m.shear((SIDE, SIDE), 0.3),
    "rotate": lambda m: m.rotate((SIDE, SIDE), 30),
    "remap": lambda m: m.remap(*elastic_maps()),
    "targets": lambda m: m.crop_and_resize(m.boxes[:512], (28, 28), np.arange(512)),
}


def elastic_maps() -> tuple[np.ndarray, np.ndarray]:
    """Return maps (SIDE, SIDE) int16 that shift by up to 6 pixels."""
    along = np.arange(SIDE)
    wave = (6 * np.sin(along / 40)).astype(np.int16)
    x, y = np.meshgrid(along.astype(np.int16), along.astype(np.int16))
    return x + wave[:, None], y + wave


@pytest.fixture(scope="module")
def many_cells() -> RoIMasks:
    rng = np.random.default_rng(0)
    corner, size = rng.integers(0, SIDE - 40, (1000, 2)), rng.integers(5, 40, (1000, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    return RoIMasks(boxes, np.ones(size.prod(axis=1).sum(), np.uint8), SIDE, SIDE)


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_that_of_the_boxes(method: str, many_cells: RoIMasks) -> None:
    tracemalloc.start()
    try:
        METHODS[method](many_cells)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6
