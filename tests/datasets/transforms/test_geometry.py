"""What holds for every geometric transform of ours: image, masks, boxes and labels stay together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import PolygonMasks

from cellseg_mmdet.datasets.transforms import (
    ElasticDeformation,
    LoadRoIAnnotations,
    RandomRotate90,
    RandomRotateScale,
)
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import RoIMasks

GEOMETRY = [
    dict(type="RandomRotate90"),
    dict(type="RandomRotateScale", scale_range=(0.7, 1.4), min_area_px=1),
    dict(type="ElasticDeformation", alpha_px=3.0, sigma_px=12.0, min_area_px=1),
    dict(type="RandomScaleCrop", crop_size_hw=(70, 80), scale_range=(0.7, 1.4), min_area_px=1),
]


def by_type(config: dict[str, Any]) -> str:
    return config["type"]


@pytest.mark.parametrize("config", GEOMETRY, ids=by_type)
@pytest.mark.parametrize("num_cells", [0, 1, 25])
@pytest.mark.parametrize("seed", range(4))
def test_bright_pixels_are_the_masks(
    draw_cells: Callable,
    from_label_map: Callable,
    run: Callable,
    config: Any,
    num_cells: int,
    seed: int,
) -> None:
    results = from_label_map(draw_cells(num_cells, seed=seed))
    results["img"] = np.where(results["img"] > 0, np.uint8(200), np.uint8(0))
    out = run(config, results, seed)
    assert (
        out["img"].shape[:2] == out["img_shape"] == (out["gt_masks"].height, out["gt_masks"].width)
    )
    union = out["gt_masks"].to_ndarray().any(axis=0).astype(np.uint8)
    bright = (out["img"][..., 0] >= 100).astype(np.uint8)
    # Beyond the image the repeated border may be bright; within, only the pixels along an edge may differ.
    inside = np.ones_like(union)
    if config["type"] in ("RandomRotateScale", "ElasticDeformation"):
        inside = visible_part(config, out, seed)
    edge = cv2.morphologyEx(union, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    assert np.array_equal(bright[(inside & ~edge & 1) > 0], union[(inside & ~edge & 1) > 0])
    assert out["gt_bboxes"].tensor.tolist() == out["gt_masks"].tight_boxes.tolist()
    assert len(out["gt_masks"]) == len(out["gt_bboxes_labels"]) == len(out["gt_ignore_flags"])


def visible_part(config: dict[str, Any], out: dict[str, Any], seed: int) -> np.ndarray:
    """Return where a result shows the image, not its repeated border: the same motion of a mask of all pixels."""
    full = dict(
        out,
        img=np.zeros_like(out["img"]),
        gt_bboxes_labels=np.zeros(1),
        gt_ignore_flags=np.zeros(1, bool),
    )
    full["gt_masks"] = type(out["gt_masks"]).from_ndarray(np.ones((1, *out["img_shape"]), np.uint8))
    np.random.seed(seed)
    moved = TRANSFORMS.build(config)(full)["gt_masks"].to_ndarray()[0]
    return cv2.erode(moved, np.ones((3, 3), np.uint8), borderValue=0)


@pytest.mark.parametrize("config", GEOMETRY, ids=by_type)
def test_labels_stay_with_their_cells(
    draw_cells: Callable, from_label_map: Callable, run: Callable, config: Any
) -> None:
    out = run(config, from_label_map(draw_cells(25)), seed=3)
    assert (np.diff(out["gt_bboxes_labels"]) > 0).all()  # the order is kept
    centres = 0
    for index, label in enumerate(out["gt_bboxes_labels"]):
        core = cv2.erode(
            out["gt_masks"].to_ndarray()[index], np.ones((5, 5), np.uint8), borderValue=0
        )
        assert (out["img"][core > 0] == 249 - label).all()
        centres += core.any()
    assert centres > 5


@pytest.mark.parametrize("config", GEOMETRY, ids=by_type)
def test_a_seed_decides(
    draw_cells: Callable, from_label_map: Callable, run: Callable, config: Any
) -> None:
    labels = draw_cells(25)
    first, again, other = (run(config, from_label_map(labels), seed) for seed in (1, 1, 2))
    assert np.array_equal(first["img"], again["img"])
    assert first["gt_masks"] == again["gt_masks"]
    assert not np.array_equal(first["img"], other["img"])


@pytest.mark.parametrize("config", GEOMETRY, ids=by_type)
def test_masks_of_another_kind_are_refused(
    from_label_map: Callable, run: Callable, config: Any
) -> None:
    results = from_label_map(np.ones((9, 9), np.int32))
    results["gt_masks"] = PolygonMasks([], 9, 9)
    with pytest.raises(TypeError, match=r"LoadRoIAnnotations\(with_mask=True\).*PolygonMasks"):
        run(config, results)


@pytest.mark.parametrize("config", GEOMETRY, ids=by_type)
def test_bitmaps_of_mmdet_are_taken_over(
    from_label_map: Callable, draw_cells: Callable, run: Callable, config: Any
) -> None:
    labels = draw_cells(25)
    ours, theirs = (
        run(config, from_label_map(labels, load=load), seed=1)
        for load in (LoadRoIAnnotations, LoadAnnotations)
    )
    assert isinstance(theirs["gt_masks"], RoIMasks)
    assert theirs["gt_masks"] == ours["gt_masks"]
    assert np.array_equal(theirs["img"], ours["img"])


def test_repr_is_the_call() -> None:
    shown = repr(RandomRotateScale((-5, 5), min_area_px=3))
    assert (
        shown == "RandomRotateScale(angle_range_deg=(-5, 5), scale_range=(1.0, 1.0), min_area_px=3)"
    )


# ---------------------------------------------------------------- quarter turns


def test_quarter_turns_are_those_of_numpy(
    draw_cells: Callable, from_label_map: Callable, run: Callable
) -> None:
    labels = draw_cells(12, height=50, width=70)
    seen = set()
    for seed in range(12):
        results = from_label_map(labels)
        image, masks = results["img"], results["gt_masks"].to_ndarray()
        out = run(dict(type="RandomRotate90"), results, seed)
        turns = next(k for k in range(4) if np.array_equal(np.rot90(image, k), out["img"]))
        assert np.array_equal(out["gt_masks"].to_ndarray(), np.rot90(masks, turns, axes=(1, 2)))
        assert len(out["gt_bboxes_labels"]) == len(masks)
        seen.add(turns)
    assert seen == {0, 1, 2, 3}


def test_a_quarter_turn_keeps_boxes_that_are_not_tight(
    from_label_map: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = from_label_map(np.eye(4, 6, dtype=np.int32))
    results["gt_bboxes"].tensor[:] = results["gt_bboxes"].tensor.new_tensor([0.5, 1, 2.5, 4])
    transform = RandomRotate90()
    monkeypatch.setattr(transform, "_random_turns", lambda: 1)
    out = transform(results)
    assert out["gt_bboxes"].tensor.tolist() == [[1, 3.5, 4, 5.5]]
    assert out["img_shape"] == (6, 4)
    assert (out["homography_matrix"] @ [6, 0, 1]).tolist() == [0, 0, 1]  # the upper right corner


@pytest.mark.parametrize("num_turns", [-1, 0, 1, 2, 3])
def test_the_turn_may_be_chosen_and_the_image_be_all_there_is(num_turns: int) -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    out = RandomRotate90(turns=[num_turns])({"img": image})
    np.testing.assert_array_equal(out["img"], np.rot90(image, num_turns))
    assert out["img_shape"] == out["img"].shape[:2]
    assert out.keys() == {"img", "img_shape", "homography_matrix"}


def test_no_turn_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="turns"):
        RandomRotate90(turns=[])


# ---------------------------------------------------------------- any angle


def test_turns_as_mmdets_rotate(
    draw_cells: Callable, from_label_map: Callable, run: Callable
) -> None:
    labels = draw_cells(20)
    config = dict(type="RandomRotateScale", angle_range_deg=(21.0, 21.0), min_area_px=1)
    ours = run(config, from_label_map(labels))
    # The greatest level of mmdet's Rotate is its max_mag.
    stock = run(
        dict(type="Rotate", level=10, max_mag=21.0, reversal_prob=1.0), from_label_map(labels)
    )
    assert ours["gt_masks"] == stock["gt_masks"][stock["gt_masks"].areas > 0]
    assert np.allclose(ours["homography_matrix"], stock["homography_matrix"], atol=1e-4)
    inside = visible_part(config, ours, seed=0) > 0
    assert np.array_equal(ours["img"][inside], stock["img"][inside])


def test_what_is_turned_out_of_the_image_is_dropped(
    from_label_map: Callable, run: Callable
) -> None:
    labels = np.zeros((100, 200), np.int32)
    labels[40:60, 2:10] = 1  # leaves with a quarter turn of the wide image
    labels[45:55, 95:105] = 2
    out = run(dict(type="RandomRotateScale", angle_range_deg=(90, 90)), from_label_map(labels))
    assert out["gt_bboxes_labels"].tolist() == [1]
    assert out["gt_bboxes"].tensor.tolist() == [[95, 45, 105, 55]]


def test_scale_alone_enlarges_about_the_centre(from_label_map: Callable, run: Callable) -> None:
    labels = np.zeros((101, 101), np.int32)
    labels[40:61, 45:56] = 1
    config = dict(type="RandomRotateScale", angle_range_deg=(0, 0), scale_range=(2, 2))
    out = run(config, from_label_map(labels))
    assert np.abs(out["gt_bboxes"].tensor.numpy() - [[40, 30, 61, 71]]).max() <= 1


# ---------------------------------------------------------------- elastic deformation


def test_the_field_has_the_strength_and_smoothness_asked_for() -> None:
    np.random.seed(0)
    transform = ElasticDeformation(alpha_px=2.0, sigma_px=20.0)
    field = transform._random_field(600, 700)
    assert field.shape == (2, 600, 700)
    assert np.allclose(np.sqrt((field**2).mean(axis=(1, 2))), 2.0, rtol=1e-4)
    # White noise smoothed by a Gaussian: its derivative has a deviation of alpha / (sqrt(2) * sigma).
    slope = np.sqrt((np.diff(field, axis=2) ** 2).mean())
    assert slope == pytest.approx(2.0 / (np.sqrt(2) * 20), rel=0.25)


def test_a_field_says_where_pixels_come_from(
    from_label_map: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 30:34] = 1
    transform = ElasticDeformation()
    field = np.array([3.0, -2.0], np.float32)[:, None, None]  # 3 to the right, 2 above
    monkeypatch.setattr(
        transform, "_random_field", lambda h, w: field + np.zeros((h, w), np.float32)
    )
    out = transform(from_label_map(labels))
    assert out["gt_bboxes"].tensor.tolist() == [[27, 12, 31, 22]]
    assert np.array_equal(out["img"][..., 0] > 0, out["gt_masks"].to_ndarray()[0])


def test_a_field_of_no_strength_changes_nothing(
    draw_cells: Callable, from_label_map: Callable, run: Callable
) -> None:
    results = from_label_map(draw_cells(20))
    config = dict(type="ElasticDeformation", alpha_px=1e-6, min_area_px=1)
    out = run(config, dict(results))
    assert np.array_equal(out["img"], results["img"])
    assert out["gt_masks"] == results["gt_masks"]


@pytest.mark.parametrize(
    ("transform", "arguments", "message"),
    [
        (RandomRotateScale, dict(angle_range_deg=(5, -5)), "angle_range_deg must be"),
        (RandomRotateScale, dict(angle_range_deg=(5,)), "angle_range_deg must be"),
        (RandomRotateScale, dict(scale_range=(0, 1)), "scale_range must be"),
        (RandomRotateScale, dict(min_area_px=0), "min_area_px"),
        (ElasticDeformation, dict(alpha_px=0), "alpha_px=0"),
        (ElasticDeformation, dict(sigma_px=-1), "sigma_px=-1"),
    ],
)
def test_arguments_are_checked(transform: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transform(**arguments)
