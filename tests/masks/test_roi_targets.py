"""Training targets against those of mmdet's `BitmapMasks`, which are mmcv's RoIAlign of the full masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks

from cellseg_mmdet.masks import RoIMasks
from tests.masks.roi_scenes import dense_scene, stock

SIDE, NUM_CELLS, NUM_PROPOSALS = 80, 60, 400


def jittered(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return boxes + rng.normal(0, 3, boxes.shape)


def whole_pixels(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return jittered(boxes, rng).round()


def larger_than_the_mask(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return boxes + rng.uniform(0, 30, boxes.shape) * [-1, -1, 1, 1]


def at_the_border(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return larger_than_the_mask(boxes, rng).clip(0, SIDE)


def anywhere(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.uniform(-5, SIDE + 5, (len(boxes), 2, 2)), axis=1).reshape(-1, 4)


PROPOSALS = (jittered, whole_pixels, larger_than_the_mask, at_the_border, anywhere)


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    return dense_scene(NUM_CELLS, SIDE)


@pytest.mark.parametrize("propose", PROPOSALS)
@pytest.mark.parametrize("out_shape", [(28, 28), (7, 14)])
def test_targets_are_those_of_mmdet(
    propose: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    out_shape: tuple[int, int],
    masks: np.ndarray,
) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = RoIMasks.from_ndarray(masks), stock(masks)
    instance = rng.integers(0, NUM_CELLS, NUM_PROPOSALS)
    boxes = propose(ours.boxes[instance], rng)
    first, second = boxes[:, :2], boxes[:, 2:]
    boxes = np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
    boxes = boxes.astype(np.float32)

    def targets(form: RoIMasks | BitmapMasks, binarize: bool) -> np.ndarray:
        found = form.crop_and_resize(boxes, out_shape, instance, "cpu", binarize=binarize)
        assert (len(found), found.height, found.width) == (NUM_PROPOSALS, *out_shape)
        return found.to_ndarray()

    soft = targets(theirs, binarize=False)
    np.testing.assert_allclose(targets(ours, binarize=False), soft, rtol=0, atol=1e-6)
    differs = targets(ours, binarize=True) != targets(theirs, binarize=True)
    assert differs.mean() <= 1e-4
    assert (np.abs(soft[differs] - 0.5) < 1e-5).all()


def test_targets_by_hand() -> None:
    cell = RoIMasks(np.array([[10, 20, 14, 24]]), np.ones(16, np.uint8), 40, 40)
    proposals = torch.tensor([[10.0, 20, 14, 24], [12, 20, 16, 24], [10, 18, 14, 22], [0, 0, 4, 4]])
    found = cell.crop_and_resize(proposals, (2, 2), torch.zeros(4, dtype=torch.int64))
    assert found.to_ndarray().tolist() == [
        [[1, 1], [1, 1]],
        [[1, 0], [1, 0]],
        [[0, 0], [1, 1]],
        [[0, 0], [0, 0]],
    ]


def test_proposals_without_area_have_no_target() -> None:
    cell = RoIMasks(np.array([[0, 0, 9, 9]]), np.ones(81, np.uint8), 9, 9)
    proposals = np.array([[4, 4, 4, 4], [3, 3, 3, 8], [6, 6, 2, 2]], dtype=np.float32)
    found = cell.crop_and_resize(proposals, (4, 4), np.zeros(3, int), binarize=False).to_ndarray()
    assert found.shape == (3, 4, 4) and (found == 0).all()


def test_no_proposals_and_no_masks(masks: np.ndarray) -> None:
    no_boxes, no_instance = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    some = RoIMasks.from_ndarray(masks).crop_and_resize(no_boxes, (5, 3), no_instance)
    none = RoIMasks.from_rle([], 9, 9).crop_and_resize(np.ones((2, 4)), (5, 3), np.zeros(2, int))
    for found in (some, none):
        assert found.to_ndarray().shape == (0, 5, 3)


def test_an_empty_mask_has_an_empty_target() -> None:
    masks = RoIMasks.from_ndarray(np.zeros((1, 9, 9), np.uint8))
    found = masks.crop_and_resize(np.array([[0, 0, 9, 9]], np.float32), (4, 4), np.zeros(1, int))
    assert not found.to_ndarray().any()
