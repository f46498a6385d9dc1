"""How `RoIMasks` are stored, selected, measured, pickled and handed to mmdet."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from cellseg_mmdet.masks import RoIMasks, Runs
from tests.masks.roi_scenes import assert_same, scenes, stock


def encode(masks: np.ndarray) -> list[dict[str, Any]]:
    return [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]


@given(scenes())
def test_every_form_goes_in_and_comes_out(masks: np.ndarray) -> None:
    _, height, width = masks.shape
    rles = encode(masks)
    runs = Runs.from_coco(rles, height, width)
    for taken in (
        RoIMasks.from_ndarray(masks),
        RoIMasks.from_ndarray(masks.astype(bool)),
        RoIMasks.from_rle(rles, height, width),
        RoIMasks.from_runs(runs),
    ):
        assert_same(taken, stock(masks))
        assert np.array_equal(taken.boxes, runs.boxes)
        assert taken.to_runs() == runs
        assert taken.to_rle() == rles
        assert np.array_equal(list(taken), list(masks))
        assert taken.astype(bool).dtype == bool


@given(scenes(), st.integers(0, 5), st.integers(0, 5))
def test_boxes_need_not_be_tight(masks: np.ndarray, more: int, less: int) -> None:
    tight = RoIMasks.from_ndarray(masks)
    expanded = tight.expand(tight.height + more, tight.width + less, 0, 0)
    whole = np.tile([0, 0, tight.width, tight.height], (len(masks), 1))
    loose = RoIMasks(whole, masks.transpose(0, 2, 1).ravel(), tight.height, tight.width)
    assert loose == tight
    assert loose.expand(tight.height + more, tight.width + less, 0, 0) == expanded
    assert np.array_equal(loose.tight_boxes, tight.boxes)
    assert np.array_equal(loose.areas, tight.areas)


def test_the_buffer_by_hand() -> None:
    masks = RoIMasks(
        np.array([[1, 0, 3, 3], [0, 0, 0, 0]]), np.array([1, 1, 0, 0, 0, 1], np.uint8), 3, 4
    )
    assert masks.to_ndarray().tolist() == [
        [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    assert masks.bitmap(0).tolist() == [[1, 0], [1, 0], [0, 1]]
    assert masks.bitmap(1).shape == (0, 0)
    assert masks.offsets.tolist() == [0, 6, 6]
    assert repr(masks) == "RoIMasks(2 instances, height=3, width=4)"


@given(scenes())
def test_measures_are_those_of_mmdet(masks: np.ndarray) -> None:
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks)
    assert np.array_equal(ours.areas, theirs.areas)
    for box_type in ("hbox", HorizontalBoxes):
        boxes, expected = ours.get_bboxes(box_type), theirs.get_bboxes(box_type)
        assert type(boxes) is HorizontalBoxes
        assert boxes.tensor.dtype == expected.tensor.dtype
        assert torch.equal(boxes.tensor, expected.tensor)


@given(scenes())
def test_tensors_are_those_of_mmdet(masks: np.ndarray) -> None:
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks)
    for dtype in (torch.uint8, torch.bool, torch.float32):
        found, expected = (form.to_tensor(dtype, "cpu") for form in (ours, theirs))
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def index_of(draw: st.DrawFn, count: int) -> Any:
    position = st.integers(-count, count - 1)
    return draw(
        position
        | st.slices(count)
        | st.lists(position, max_size=9).map(lambda chosen: np.array(chosen, dtype=np.int64))
        | st.lists(st.booleans(), min_size=count, max_size=count).map(np.array)
    )


@given(scenes(min_instances=1), st.data())
def test_selecting_is_that_of_mmdet(masks: np.ndarray, data: st.DataObject) -> None:
    index = index_of(data.draw, len(masks))
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks)
    assert_same(ours[index], theirs[index])
    if isinstance(index, np.ndarray):
        assert ours[torch.from_numpy(index)] == ours[index]
    assert_same(RoIMasks.cat([ours, ours[index]]), type(theirs).cat([theirs, theirs[index]]))


def test_nothing_selected_of_nothing() -> None:
    nothing = RoIMasks.from_rle([], 5, 7)
    for index in (slice(None), np.zeros(0, bool), torch.zeros(0, dtype=torch.bool), []):
        assert len(nothing[index]) == 0
    assert RoIMasks.cat([nothing, nothing]).to_ndarray().shape == (0, 5, 7)
    assert nothing.areas.shape == (0,)
    assert nothing.get_bboxes("hbox").tensor.shape == (0, 4)


@given(scenes(min_instances=1), st.data())
def test_instance_data_selects_and_joins_them(masks: np.ndarray, data: st.DataObject) -> None:
    flags = data.draw(st.lists(st.booleans(), min_size=len(masks), max_size=len(masks)))
    instances = InstanceData(masks=RoIMasks.from_ndarray(masks), labels=torch.arange(len(masks)))
    chosen = instances[torch.tensor(flags)]
    assert_same(chosen.masks, stock(masks[np.array(flags)]))
    assert len(chosen) == sum(flags)
    joined = InstanceData.cat([instances, chosen])
    assert_same(joined.masks, stock(np.concatenate([masks, masks[np.array(flags)]])))


@given(scenes())
def test_pickles_come_back(masks: np.ndarray) -> None:
    masks_before = RoIMasks.from_ndarray(masks)
    masks_after = pickle.loads(pickle.dumps(masks_before))
    assert_same(masks_after, stock(masks))
    assert np.array_equal(masks_after.boxes, masks_before.boxes)


def test_soft_targets_are_pickled_as_they_are() -> None:
    soft = RoIMasks(np.array([[0, 0, 2, 1]]), np.array([0.25, 1], np.float32), 1, 2)
    assert pickle.loads(pickle.dumps(soft)).to_ndarray().tolist() == [[[0.25, 1]]]


def test_a_pickle_is_a_bit_for_each_pixel() -> None:
    num_cells, side = 1000, 40
    boxes = np.tile([0, 0, side, side], (num_cells, 1)) + np.arange(num_cells)[:, None]
    masks = RoIMasks(boxes, np.ones(num_cells * side**2, np.uint8), 2000, 2000)
    assert len(pickle.dumps(masks)) < num_cells * (side**2 / 8 + 48) + 2000


@given(scenes(min_instances=1))
def test_equal_is_what_has_the_same_pixels(masks: np.ndarray) -> None:
    ours = RoIMasks.from_ndarray(masks)
    other = masks.copy()
    other[-1, -1, -1] ^= 1
    assert ours == RoIMasks.from_ndarray(masks)
    assert ours != RoIMasks.from_ndarray(other)
    assert ours != ours.pad((ours.height + 1, ours.width))
    assert ours != masks.tolist()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: RoIMasks([[0, 0, 2, 2], [3, 1, 6, 3]], np.ones(10, np.uint8), 5, 5),
            r"box \[3, 1, 6, 3\] of instance 1 reaches out of the image of 5 x 5",
        ),
        (
            lambda: RoIMasks([[-1, 0, 1, 2]], np.ones(4, np.uint8), 5, 5),
            r"box \[-1, 0, 1, 2\] of instance 0",
        ),
        (
            lambda: RoIMasks([[0, 0, 2, 2]], np.ones(3, np.uint8), 5, 5),
            "3 mask pixels for boxes of 4",
        ),
        (
            lambda: RoIMasks.cat([RoIMasks.from_rle([], 5, 7), RoIMasks.from_rle([], 7, 5)]),
            r"one image size; got \[\(5, 7\), \(7, 5\)\]",
        ),
        (lambda: RoIMasks.cat([]), r"one image size; got \[\]"),
    ],
)
def test_what_does_not_fit_is_refused(build: Callable[[], RoIMasks], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
