from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.fusion import average_soft_masks, cut_soft_masks, paste_soft_masks
from cellseg_mmdet.fusion.soft_masks import resample
from cellseg_mmdet.masks import RoIMasks, Runs, pairwise_iou
from cellseg_mmdet.models.mask_heads import paste_masks


def test_a_box_of_its_own_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    soft = rng.random((5, 7, 7)).astype(np.float32)
    corners = rng.uniform(0, 700, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 300, (5, 2))], axis=1)
    for kind in (np.float32, np.float64):
        same = boxes.astype(kind)
        assert resample(soft, same, same, (7, 7)) == pytest.approx(soft, abs=1e-6)
    as_bytes = np.rint(soft * 255).astype(np.uint8)
    assert (np.rint(resample(as_bytes, boxes, boxes, (7, 7)) * 255) == as_bytes).all()


def test_a_wider_box_is_0_outside() -> None:
    soft = np.ones((1, 4, 4), np.float32)
    (wide,) = resample(soft, np.array([[0, 0, 4, 4]]), np.array([[0, 0, 8, 4]]), (4, 8))
    # Half a bin around the edge is a slope; bin centres lie half a bin from it.
    assert wide.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 4
    (shifted,) = resample(soft, np.array([[0, 0, 4, 4]]), np.array([[-1.5, 0, 2.5, 4]]), (4, 4))
    assert shifted.tolist() == [[0, 0.5, 1, 1]] * 4


def test_a_ramp_is_a_ramp_in_any_box() -> None:
    # The value is x / 16 in both boxes, up to half a bin of the first one's ends.
    centers = (np.arange(8) + 0.5) * 2
    ramp = np.tile(centers / 16, (8, 1))[None]
    (moved,) = resample(ramp, np.array([[0, 0, 16, 16]]), np.array([[4, 2, 12, 14]]), (3, 4))
    assert moved == pytest.approx(np.tile([5 / 16, 7 / 16, 9 / 16, 11 / 16], (3, 1)))


def test_the_mean_is_weighted_and_sizes_may_differ() -> None:
    soft = [np.full((2, 2, 2), 255, np.uint8), np.zeros((1, 4, 4), np.float32)]
    box = np.array([[0.0, 0, 8, 8]])
    mean = average_soft_masks(
        soft,
        [np.tile(box, (2, 1)), box],
        members=np.array([[1, 0], [0, -1]]),
        weights=np.array([[3.0, 1.0], [0.2, 0.0]]),
        fused_boxes=np.tile(box, (2, 1)),
    )
    assert mean.shape == (2, 4, 4)
    # Inside the centres of the outer bins of 2 x 2, so that nothing has faded yet.
    assert mean[:, 1:3, 1:3] == pytest.approx(np.stack([np.full((2, 2), 0.75), np.ones((2, 2))]))


def test_a_box_with_as_many_pixels_as_bins_is_cut_out_as_it_is() -> None:
    foreground = np.random.default_rng(0).random((9, 12), dtype=np.float32)
    label_map = np.zeros((9, 12), np.int32)
    label_map[2:8, 3:11] = 1
    soft = cut_soft_masks(foreground, label_map, np.array([[3, 2, 11, 8]]), (6, 8))
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft, foreground[None, 2:8, 3:11], rtol=1e-6)
    of_blocks = cut_soft_masks(foreground, label_map, np.array([[3, 2, 11, 8]]), (3, 4))
    mean = foreground[2:8, 3:11].reshape(3, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(of_blocks[0], mean, rtol=1e-6)


def test_bins_smaller_than_pixels_lie_between_their_centres() -> None:
    # Cells of two columns each at 3 and at 5, in 0.4 of background; 14 bins a pixel.
    foreground = np.full((2, 9), 0.4, np.float32)
    foreground[:, 3:7] = 0.8
    label_map = np.array([[0, 0, 0, 1, 1, 2, 2, 0, 0]] * 2)
    left, right = cut_soft_masks(
        foreground, label_map, np.array([[3, 0, 5, 2], [5, 0, 7, 2]]), (28, 28)
    )
    centres = 3 + (np.arange(28) + 0.5) / 14
    profile = np.interp(centres, [2.5, 3.5, 4.5, 5.5], [0.4, 0.8, 0.8, 0.0])
    # The image ends above and below: no bin there fades.
    np.testing.assert_allclose(left, np.tile(profile, (28, 1)), rtol=1e-5)
    np.testing.assert_allclose(right, left[:, ::-1], rtol=1e-5)


@pytest.mark.parametrize(("radius_px", "least_iou"), [(3, 0.96), (9, 0.99), (30, 0.99), (90, 0.99)])
def test_what_was_cut_out_pastes_to_the_instances(radius_px: float, least_iou: float) -> None:
    """Three discs, the first two of which touch."""
    side = int(5 * radius_px)
    y, x = np.mgrid[:side, :side] + 0.5
    distances = [
        radius_px - np.hypot(x - at_x * radius_px, y - at_y * radius_px)
        for at_x, at_y in ((1.4, 1.5), (3.3, 1.5), (2.1, 3.7))
    ]
    nearest = np.max(distances, axis=0)
    label_map = np.where(nearest > 0, np.argmax(distances, axis=0) + 1, 0)
    foreground = 1 / (1 + np.exp(-2 * nearest))  # 0.5 at the rim
    masks = Runs.from_label_map(label_map)

    soft = cut_soft_masks(foreground, label_map, masks.boxes, (28, 28))
    pasted = paste_soft_masks(soft, masks.boxes.astype(np.float32), side, side)

    assert np.diag(pairwise_iou(pasted, masks)).min() > least_iou


def test_nothing_to_cut_out() -> None:
    nothing = cut_soft_masks(
        np.zeros((5, 6), np.float32), np.zeros((5, 6), int), np.zeros((0, 4), int), (28, 28)
    )
    assert nothing.shape == (0, 28, 28)


def test_nothing_to_average() -> None:
    nothing = [np.zeros((0, 7, 7), np.uint8), np.zeros((0, 0, 0), np.uint8)]
    none = np.zeros((0, 2))
    boxes = np.zeros((0, 4))
    mean = average_soft_masks(nothing, [boxes, boxes], none.astype(int), none, boxes)
    assert mean.shape == (0, 7, 7)
    assert len(paste_soft_masks(mean, boxes, 5, 6)) == 0


def test_a_full_mask_pastes_to_its_box() -> None:
    soft = np.ones((3, 28, 28), np.float32)
    boxes = np.array([[2, 3, 7, 9], [-4, -4, 3, 2], [5, 5, 5, 8]], np.float32)
    masks = paste_soft_masks(soft, boxes, 10, 8)
    assert masks.boxes.tolist() == [[2, 3, 7, 9], [0, 0, 3, 2], [0, 0, 0, 0]]
    assert masks.areas.tolist() == [30, 6, 0]


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([(1, 1), (7, 7), (28, 28), (14, 5)]),
    threshold=st.sampled_from([0.3, 0.5, 0.7]),
    count=st.integers(0, 12),
    as_bytes=st.booleans(),
)
def test_pixels_are_those_of_the_mask_head(
    seed: int, size: tuple[int, int], threshold: float, count: int, as_bytes: bool
) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2).tolist()
    soft = rng.random((count, *size)).astype(np.float32)
    if as_bytes:
        soft = np.rint(soft * 255).astype(np.uint8)
    corners = rng.uniform(-10, [width, height], (count, 2))
    ends = np.maximum(corners + rng.uniform(0.5, 50, (count, 2)), 0)
    boxes = np.concatenate([corners, ends], axis=1).astype(np.float32)

    ours = dense(paste_soft_masks(soft, boxes, height, width, threshold))
    values = torch.from_numpy(soft / np.float32(255) if as_bytes else soft)
    low, high = (
        dense(paste_masks(values, torch.from_numpy(boxes), height, width, threshold + off))
        for off in (1e-4, -1e-4)
    )
    assert (low <= ours).all()
    assert (ours <= high).all()


def dense(masks: object) -> np.ndarray:
    return RoIMasks.from_runs(masks).to_ndarray()
