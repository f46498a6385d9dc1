"""Mirrored cells have mirrored masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

MOTION = dict(
    type="RandomReflectedAffine",
    angle_range_deg=(-50, 50),
    shear_range_deg=(-20, 20),
    scale_range=(0.6, 1.2),
    shift_range=(-0.3, 0.3),
)


@pytest.mark.parametrize("seed", range(6))
def test_bright_pixels_are_the_masks_also_where_they_are_mirrored(
    draw_cells, from_label_map, run, seed
):
    results = from_label_map(draw_cells(20, seed=seed))
    results["img"] = np.where(results["img"] > 0, np.uint8(200), np.uint8(0))
    out = run(MOTION, results, seed)
    union = out["gt_masks"].to_ndarray().any(axis=0).astype(np.uint8)
    bright = (out["img"][..., 0] >= 100).astype(np.uint8)
    edge = cv2.morphologyEx(union, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    assert np.array_equal(bright[~edge], union[~edge])
    assert out["gt_bboxes"].tensor.tolist() == out["gt_masks"].tight_boxes.tolist()
    assert len(out["gt_masks"]) == len(out["gt_bboxes_labels"]) == len(out["gt_ignore_flags"])


@pytest.mark.parametrize("seed", range(4))
def test_labels_stay_with_their_cells(draw_cells, from_label_map, run, seed):
    results = from_label_map(draw_cells(25, seed=seed))
    out = run(MOTION, results, seed)
    num_checked = 0
    for mask, label in zip(out["gt_masks"].to_ndarray(), out["gt_bboxes_labels"], strict=True):
        inside = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0  # where no neighbour blurs into it
        levels = set(out["img"][inside, 0].tolist())
        assert levels <= {250 - (label + 1)}
        num_checked += len(levels)
    assert num_checked > 3


def test_a_shift_shows_the_mirror_image(from_label_map, run):
    label_map = np.zeros((10, 20), np.int32)
    label_map[4:6, 2:5] = 1
    out = run(dict(type="RandomReflectedAffine", shift_range=(0.5, 0.5)), from_label_map(label_map))
    expected = np.zeros((10, 20), np.uint8)
    # 10 to the right and 5 down; columns from 10 on, rows from 5 on, with their mirror images before them.
    expected[9:10, 12:15] = expected[9:10, 5:8] = expected[0:1, 12:15] = expected[0:1, 5:8] = 1
    assert np.array_equal(out["gt_masks"].to_ndarray()[0], expected)
    assert np.array_equal(out["img"][..., 0] > 0, expected > 0)
    point = out["homography_matrix"] @ [2, 4, 1]
    assert point.tolist() == [12, 9, 1]


def test_a_quarter_turn_is_clockwise(from_label_map, run):
    label_map = np.arange(1, 10, dtype=np.int32).reshape(3, 3)
    motion = dict(type="RandomReflectedAffine", angle_range_deg=(90, 90))
    out = run(motion, from_label_map(label_map))
    turned = out["gt_masks"].to_runs().to_label_map()
    ids = out["gt_bboxes_labels"][turned - 1] + 1
    assert np.array_equal(ids, np.rot90(label_map, -1))


def test_without_arguments_nothing_changes(draw_cells, from_label_map, run):
    results = from_label_map(draw_cells(9))
    image, masks = results["img"].copy(), results["gt_masks"].to_ndarray()
    out = run(dict(type="RandomReflectedAffine"), results)
    assert np.array_equal(out["img"], image)
    assert np.array_equal(out["gt_masks"].to_ndarray(), masks)


def test_image_without_cells(from_label_map, run):
    assert len(run(MOTION, from_label_map(np.zeros((12, 15), np.int32)))["gt_masks"]) == 0
