from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.datasets.transforms import CopyPasteCells
from cellseg_mmdet.datasets.transforms.copy_paste import _Paste
from cellseg_mmdet.errors import ConfigError

Results = dict[str, Any]


def assert_consistent(out: Results) -> None:
    """Every mask holds exactly the pixels that show its cell (gray level 249 - label), and nothing else is shown."""
    masks = out["gt_masks"].to_ndarray()
    assert (masks.sum(axis=0) <= 1).all()
    shown = np.zeros(out["img"].shape[:2], np.uint8)
    for mask, label in zip(masks, out["gt_bboxes_labels"], strict=True):
        shown[mask > 0] = 249 - label
    assert np.array_equal(out["img"], shown[..., None].repeat(3, axis=2))
    assert np.array_equal(out["gt_bboxes"].tensor.numpy(), out["gt_masks"].tight_boxes)
    assert len(out["gt_ignore_flags"]) == len(masks)


@pytest.mark.parametrize("seed", range(6))
def test_on_background_only(draw_cells: Callable, from_label_map: Callable, seed: int) -> None:
    labels = draw_cells(8, seed=seed)
    results = from_label_map(labels)
    before = results["gt_masks"]
    np.random.seed(seed)
    out = CopyPasteCells(max_cells=20, num_images=0)(dict(results))
    assert_consistent(out)
    assert out["gt_masks"][: len(before)] == before
    assert results["img"].max() > 0 and results["img"] is not out["img"]


@pytest.mark.parametrize("seed", range(6))
def test_covered_pixels_leave_the_masks_below(
    draw_cells: Callable, from_label_map: Callable, seed: int
) -> None:
    results = from_label_map(draw_cells(15, seed=seed))
    num_cells, total = len(results["gt_masks"]), results["gt_masks"].areas.sum()
    np.random.seed(seed)
    out = CopyPasteCells(max_cells=40, num_images=0, max_overlap=1.0, min_kept_fraction=0.0)(
        results
    )
    assert_consistent(out)
    # Most pastes hit something, so the areas are less than those of all cells laid side by side.
    assert len(out["gt_masks"]) > num_cells
    assert out["gt_masks"].areas[:num_cells].sum() < total


def test_a_cell_that_is_mostly_covered_is_dropped(
    from_label_map: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((30, 30), np.int32)
    labels[1:5, 1:11] = 1  # 4 x 10
    labels[10:14, 10:20] = 2
    labels[20:24, 10:20] = 3
    transform = CopyPasteCells(min_kept_fraction=0.5)

    def place(self: Any, cells: Any, runs: Any) -> Any:
        first = next(cell for cell in cells if cell.label == 0)
        # Leaves 6 of 10 columns of the second cell, 4 of 10 of the third.
        return [_Paste(first, 16, 10), _Paste(first, 14, 20)]

    monkeypatch.setattr(CopyPasteCells, "_random_pastes", place)
    out = transform(from_label_map(labels))
    assert out["gt_bboxes_labels"].tolist() == [0, 1, 0, 0]
    assert out["gt_masks"].areas.tolist() == [40, 24, 40, 40]
    assert out["gt_bboxes"].tensor[1].tolist() == [10, 10, 16, 14]


@pytest.mark.parametrize("max_overlap", [0.0, 0.2])
def test_overlap_is_limited(
    draw_cells: Callable, from_label_map: Callable, max_overlap: float
) -> None:
    results = from_label_map(draw_cells(12))
    free = results["gt_masks"].to_ndarray().any(axis=0)
    num_cells = len(results["gt_masks"])
    np.random.seed(0)
    out = CopyPasteCells(60, 0, max_overlap=max_overlap, min_kept_fraction=0.0)(results)
    pasted = out["gt_masks"][np.arange(num_cells, len(out["gt_masks"]))]
    covering = (pasted.to_ndarray() & free).sum(axis=(1, 2)) / pasted.areas
    assert len(pasted)
    # A pasted cell may itself lose pixels to later ones, hence the doubled bound.
    assert covering.max() <= 2 * max_overlap
    assert (covering.max() > 0) == (max_overlap > 0)


def test_cells_come_from_images_of_the_same_type(from_label_map: Callable) -> None:
    def image(index: int, cell_type: str | None) -> Results:
        labels = np.zeros((60, 60), np.int32)
        labels[20:25, 20:25] = index
        return from_label_map(labels, cell_type=cell_type)

    np.random.seed(0)
    transform = CopyPasteCells(max_cells=20, num_images=2)
    found: list[set[int]] = []
    for index, cell_type in enumerate(["cort", "astro", "cort", None, "cort"], start=1):
        out = transform(image(index, cell_type))
        assert_consistent(out)
        found.append(set((out["gt_bboxes_labels"] + 1).tolist()))
    # The last finds the third in the two images kept, and not the first any more.
    assert found == [{1}, {2}, {1, 3}, {4}, {5, 3}]


def test_what_is_not_copied(from_label_map: Callable) -> None:
    labels = np.zeros((60, 60), np.int32)
    labels[0:5, 20:25] = 1  # cut off by the border
    labels[30:35, 55:60] = 2
    labels[30:35, 30:35] = 3  # ignored
    results = from_label_map(labels)
    results["gt_ignore_flags"][2] = True
    np.random.seed(0)
    for _ in range(5):
        assert len(CopyPasteCells()(dict(results))["gt_masks"]) == 3


def test_ignored_cells_stay_ignored(from_label_map: Callable) -> None:
    labels = np.zeros((60, 60), np.int32)
    labels[20:25, 20:25], labels[30:35, 30:35] = 1, 2
    results = from_label_map(labels)
    results["gt_ignore_flags"][0] = True
    np.random.seed(0)
    out = CopyPasteCells(max_cells=9)(results)
    assert out["gt_ignore_flags"].tolist() == [True] + [False] * (len(out["gt_masks"]) - 1)
    assert set(out["gt_bboxes_labels"][1:].tolist()) == {1}


def test_an_image_without_cells(from_label_map: Callable) -> None:
    nothing = np.zeros((40, 50), np.int32)
    labels = nothing.copy()
    labels[20:25, 20:26] = 1
    transform = CopyPasteCells(max_cells=10)
    np.random.seed(0)
    assert len(transform(from_label_map(nothing))["gt_masks"]) == 0
    transform(from_label_map(labels))
    out = transform(from_label_map(nothing))
    assert_consistent(out)
    assert set(out["gt_masks"].areas.tolist()) == {30}


def test_all_orientations_occur(from_label_map: Callable) -> None:
    labels = np.zeros((200, 200), np.int32)
    labels[10:20, 10:14] = 1  # an L without symmetry
    labels[18:20, 10:17] = 1
    np.random.seed(0)
    masks = CopyPasteCells(max_cells=200, num_images=0)(from_label_map(labels))["gt_masks"]
    shapes = {
        masks.bitmap(index).tobytes() + bytes(masks.bitmap(index).shape)
        for index in range(len(masks))
    }
    assert len(shapes) == 8


def test_a_feathered_edge_mixes_inside_the_mask_only(from_label_map: Callable) -> None:
    labels = np.zeros((90, 90), np.int32)
    labels[10:31, 10:31] = 1
    results = from_label_map(labels)
    np.random.seed(1)
    out = CopyPasteCells(max_cells=9, num_images=0, feather_px=2.0)(results)
    union = out["gt_masks"].to_ndarray().any(axis=0)
    assert (out["img"][~union] == 0).all()
    assert len(out["gt_masks"]) > 1
    for x1, y1, x2, y2 in out["gt_masks"].boxes[1:].tolist():
        middle = (y1 + y2) // 2
        profile = out["img"][middle, x1:x2, 0].astype(int)
        assert profile[10] == 249 and 100 < profile[0] < 160  # the blurred edge is at one half
        assert (np.diff(profile[:11]) >= 0).all()


def test_a_cell_too_large_for_the_image_is_left_out(from_label_map: Callable) -> None:
    large = np.zeros((90, 90), np.int32)
    large[5:80, 5:80] = 1
    small = np.zeros((40, 50), np.int32)
    transform = CopyPasteCells()
    np.random.seed(0)
    transform(from_label_map(large))
    for _ in range(3):
        assert len(transform(from_label_map(small))["gt_masks"]) == 0


def test_for_some_images_only(from_label_map: Callable, run: Callable) -> None:
    labels = np.zeros((90, 90), np.int32)
    labels[20:25, 20:25] = 1
    config = dict(type="RandomApply", transforms=[dict(type="CopyPasteCells")], prob=0.5)
    found = [len(run(config, from_label_map(labels), seed)["gt_masks"]) > 1 for seed in range(20)]
    assert 4 < sum(found) < 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(max_cells=0), "max_cells must be at least 1"),
        (dict(num_images=-1), "num_images"),
        (dict(feather_px=-1.0), "feather_px"),
        (dict(max_overlap=1.5), "shares in 0..1; got 1.5"),
        (dict(min_kept_fraction=-0.1), "min_kept_fraction"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CopyPasteCells(**arguments)
