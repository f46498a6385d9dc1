from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.datasets.transforms import RandomScaleCrop
from cellseg_mmdet.errors import ConfigError

CROP = {"type": "RandomScaleCrop"}


@pytest.mark.parametrize(
    ("scaling", "mmdets"),
    [
        pytest.param(
            dict(scales=[(300, 300), (200, 100), (90, 80)]),
            dict(type="RandomChoiceResize", scales=[(300, 300), (200, 100), (90, 80)]),
            id="choice",
        ),
        pytest.param(
            dict(scale_range=(0.5, 2.5)),
            dict(type="RandomResize", scale=(150, 120), ratio_range=(0.5, 2.5)),
            id="range",
        ),
    ],
)
def test_draws_what_mmdets_pair_draws(
    draw_cells: Callable, from_label_map: Callable, scaling: dict, mmdets: dict
) -> None:
    """For the same seed the windows agree within a pixel of the source: so do the distributions."""
    labels = np.kron(np.arange(1, 31).reshape(5, 6), np.ones((24, 25), int))  # cells everywhere
    results = from_label_map(labels)
    ours = RandomScaleCrop((70, 90), **scaling)
    resize = TRANSFORMS.build(dict(mmdets, keep_ratio=True))
    crop = TRANSFORMS.build(dict(type="RandomCrop", crop_size=(90, 70)))
    scales, corners = [], []
    for seed in range(300):
        np.random.seed(seed)
        found = ours(dict(results))
        np.random.seed(seed)
        expected = crop(resize(dict(results, gt_bboxes=results["gt_bboxes"].clone())))
        height, width = expected["img_shape"]
        assert np.abs(np.subtract(found["img_shape"], (height, width))).max() <= 1
        for corner in ([0, 0, 1], [width, height, 1]):
            source = np.linalg.solve(found["homography_matrix"], corner)
            wanted = np.linalg.solve(expected["homography_matrix"], corner)
            assert np.abs(source - wanted).max() <= 1.01
        scales.append(found["homography_matrix"][0, 0] / expected["homography_matrix"][0, 0])
        corners.append((source - wanted)[:2])
    assert np.abs(np.mean(corners, axis=0)).max() < 0.25  # nor shifted on average
    assert abs(np.mean(scales) - 1) < 0.005


@pytest.mark.parametrize("diameter_px", [5.0, 10.0, 20.0])
def test_cells_get_the_common_diameter(
    from_label_map: Callable, run: Callable, diameter_px: float
) -> None:
    rows, columns = np.mgrid[:60, :60]
    disk = (rows - 30) ** 2 + (columns - 30) ** 2 <= 100  # 20 pixels wide
    found = run(
        dict(CROP, crop_size_hw=(200, 200), scale_range=(1.0, 1.0), diameter_px=diameter_px),
        from_label_map(disk.astype(np.int32)),
    )
    (area,) = found["gt_masks"].areas
    assert np.sqrt(area * 4 / np.pi) == pytest.approx(diameter_px, rel=0.1)
    empty = run(
        dict(CROP, crop_size_hw=(200, 200), scale_range=(1.0, 1.0), diameter_px=diameter_px),
        from_label_map(np.zeros((60, 60), np.int32)),
    )
    assert empty["img_shape"] == (60, 60)


def test_a_window_of_known_pixels(from_label_map: Callable, run: Callable) -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[4:8, 6:12] = 1
    labels[15:20, 20:30] = 2
    config = CROP | dict(crop_size_hw=(40, 60), scale_range=(2, 2))
    out = run(config, from_label_map(labels))
    doubled = np.kron(labels, np.ones((2, 2), int))
    assert np.array_equal(out["gt_masks"].to_ndarray(), [doubled == 1, doubled == 2])
    assert out["gt_bboxes"].tensor.tolist() == [[12, 8, 24, 16], [40, 30, 60, 40]]
    assert out["img_shape"] == out["img"].shape[:2] == (40, 60)
    assert out["scale_factor"] == (2, 2)
    assert np.array_equal(out["homography_matrix"], np.diag([2, 2, 1]))


@pytest.mark.parametrize("seed", range(10))
def test_image_masks_boxes_and_labels_agree(
    draw_cells: Callable, from_label_map: Callable, run: Callable, seed: int
) -> None:
    results = from_label_map(draw_cells(40, seed=seed))
    config = CROP | dict(crop_size_hw=(50, 60), scale_range=(1, 1), min_area_px=5)
    out = run(config, results, seed)
    gray = out["img"][..., 0]
    ids = [index for index in range(1, 41) if (gray == 250 - index).sum() >= 5]
    assert gray.shape == (50, 60)
    assert (out["gt_bboxes_labels"] + 1).tolist() == ids
    assert np.array_equal(out["gt_masks"].to_ndarray(), [gray == 250 - index for index in ids])
    assert np.array_equal(out["gt_bboxes"].tensor.numpy(), out["gt_masks"].tight_boxes)
    assert len(out["gt_ignore_flags"]) == len(ids)


def test_the_cpu_configs_windows(from_label_map: Callable, run: Callable) -> None:
    labels = np.ones((520, 704), np.int32)
    out = run(CROP | dict(crop_size_hw=(288, 288), scale_range=(1.5, 1.5)), from_label_map(labels))
    assert out["img_shape"] == (288, 288)
    assert out["scale_factor"] == (1.5, 1.5)  # of 192 x 192 pixels


def test_a_window_with_a_cell_is_looked_for(from_label_map: Callable, run: Callable) -> None:
    labels = np.zeros((80, 120), np.int32)
    labels[40:45, 60:65] = 1
    config = CROP | dict(crop_size_hw=(40, 40), scale_range=(1, 1))
    results = from_label_map(labels)
    found = [len(run(config | dict(num_tries=50), dict(results), s)["gt_masks"]) for s in range(30)]
    assert found == [1] * 30
    once = [len(run(config | dict(num_tries=1), dict(results), s)["gt_masks"]) for s in range(30)]
    assert 0 < sum(once) < 30


def test_an_image_without_cells_is_cropped_all_the_same(
    from_label_map: Callable, run: Callable
) -> None:
    results = from_label_map(np.zeros((80, 120), np.int32))
    out = run(CROP | dict(crop_size_hw=(40, 50), scale_range=(0.8, 1.2)), results)
    assert out["img"].shape == (40, 50, 3)
    assert len(out["gt_masks"]) == len(out["gt_bboxes"]) == len(out["gt_bboxes_labels"]) == 0


def test_what_shrinks_to_nothing_is_dropped(from_label_map: Callable, run: Callable) -> None:
    labels = np.zeros((80, 120), np.int32)
    labels[11, 10:40] = 1  # between the rows that a fifth of the size is made of
    labels[40:60, 10:40] = 2
    config = CROP | dict(crop_size_hw=(40, 50), scale_range=(0.2, 0.2))
    out = run(config, from_label_map(labels))
    assert out["img_shape"] == (16, 24)
    assert out["gt_bboxes_labels"].tolist() == [1]
    assert out["gt_bboxes"].tensor.tolist() == [[2, 8, 8, 12]]


def test_of_a_small_image_the_whole_side_is_taken(from_label_map: Callable, run: Callable) -> None:
    results = from_label_map(np.ones((80, 120), np.int32))
    out = run(CROP | dict(crop_size_hw=(500, 30), scales=[(240, 240)]), copy.copy(results))
    assert out["img_shape"] == (160, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either scale_range or scales"),
        (dict(scales=[]), "either scale_range or scales"),
        (dict(scale_range=(1, 2), scales=[(9, 9)]), "either scale_range or scales"),
        (dict(scale_range=(2, 1)), "scale_range must be"),
        (dict(scale_range=(0, 1)), "scale_range must be"),
        (dict(scales=[(0, 9)]), "long, short"),
        (dict(scale_range=(1, 1), num_tries=0), "num_tries=0"),
        (dict(scale_range=(1, 1), min_area_px=0), "min_area_px=0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RandomScaleCrop((9, 9), **arguments)
