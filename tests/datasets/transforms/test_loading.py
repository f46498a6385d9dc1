from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
from mmdet.models.utils import mask2ndarray
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_mask

from cellseg_mmdet.datasets.transforms import LoadRoIAnnotations
from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.masks.roi_masks import RoIMasks

HEIGHT, WIDTH = 17, 23


def compressed(bitmap: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    return {"size": list(bitmap.shape), "counts": rle["counts"].decode()}


def uncompressed(bitmap: np.ndarray) -> dict[str, Any]:
    flat = bitmap.ravel(order="F")
    bounds = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    return {"size": list(bitmap.shape), "counts": np.diff(bounds, prepend=0).tolist()}


bitmaps = st.binary(min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH).map(
    lambda data: (np.frombuffer(data, np.uint8) > 127).astype(np.uint8).reshape(HEIGHT, WIDTH)
)
empty = st.just(np.zeros((HEIGHT, WIDTH), np.uint8))
coordinates = st.floats(-5, WIDTH + 5, width=32)
polygon = st.lists(coordinates, min_size=0, max_size=16)
segmentations = st.one_of(
    (bitmaps | empty).map(compressed),
    (bitmaps | empty).map(uncompressed),
    st.lists(polygon, max_size=3),
)


def results_of(masks: list[Any]) -> dict[str, Any]:
    return {
        "img_path": "dir/cells.png",
        "ori_shape": (HEIGHT, WIDTH),
        "instances": [
            {
                "bbox": [index, 1.5, index + 3, 9],
                "bbox_label": index % 3,
                "ignore_flag": int(index % 4 == 3),
                "mask": mask,
            }
            for index, mask in enumerate(masks)
        ],
    }


@given(st.lists(segmentations, max_size=6))
@settings(max_examples=150)
def test_loads_what_mmdet_loads(masks: list[Any]) -> None:
    results = results_of(masks)
    expected = LoadAnnotations(with_mask=True)(copy.deepcopy(results))
    found = LoadRoIAnnotations(with_mask=True)(results)
    assert found.keys() == expected.keys()
    assert isinstance(found["gt_masks"], RoIMasks)
    assert isinstance(found["gt_bboxes"], HorizontalBoxes)
    assert found["gt_bboxes"].tensor.equal(expected["gt_bboxes"].tensor)
    for key in ("gt_bboxes_labels", "gt_ignore_flags"):
        assert np.array_equal(found[key], expected[key])
        assert found[key].dtype == expected[key].dtype
    assert found["gt_masks"].to_ndarray().shape == (len(masks), HEIGHT, WIDTH)
    assert np.array_equal(
        found["gt_masks"].to_ndarray(), expected["gt_masks"].masks.reshape(-1, HEIGHT, WIDTH)
    )


def test_a_polygon_of_known_pixels() -> None:
    results = results_of([[[2, 3, 7, 3, 7, 9, 2, 9]], [[1, 1, 2, 2]]])
    loaded = LoadRoIAnnotations(with_mask=True)(results)
    assert loaded["gt_masks"].boxes.tolist() == [[2, 3, 7, 9], [0, 0, 0, 0]]
    assert loaded["gt_masks"].areas.tolist() == [30, 0]
    assert loaded["gt_ignore_flags"].tolist() == [False, True]  # two points are no polygon


def test_counts_may_be_bytes() -> None:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[4:9, 3:5] = 1
    loaded = LoadRoIAnnotations(with_mask=True)(
        results_of([coco_mask.encode(np.asfortranarray(bitmap))])
    )
    assert np.array_equal(loaded["gt_masks"].to_ndarray(), [bitmap])
    assert not loaded["gt_ignore_flags"].any()


def test_masks_are_loaded_when_asked_for_only() -> None:
    assert "gt_masks" not in LoadRoIAnnotations()(results_of([None]))


def test_mmdet_takes_the_masks_for_its_own() -> None:
    masks = LoadRoIAnnotations(with_mask=True)(results_of([]))["gt_masks"]
    assert isinstance(masks, BitmapMasks)
    assert (len(masks), masks.height, masks.width) == (0, HEIGHT, WIDTH)
    assert mask2ndarray(masks).shape == (0, HEIGHT, WIDTH)  # for its browse_dataset and hooks


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        pytest.param(None, "got null", id="missing"),
        pytest.param({"size": [HEIGHT, WIDTH]}, "'counts'", id="without counts"),
        pytest.param([1, 2, 3, 4, 5, 6], "list of polygons", id="coordinates alone"),
        pytest.param({"size": [5, 5], "counts": [25]}, r"\[5, 5\] differs", id="another size"),
        pytest.param({"size": [HEIGHT, WIDTH], "counts": [7]}, "add up to 7", id="cut off"),
    ],
)
def test_damaged_masks_are_named(mask: Any, message: str) -> None:
    results = results_of([[[2, 3, 7, 3, 7, 9]], mask])
    with pytest.raises(DataError, match=rf"^dir/cells\.png: instance 1\b.*{message}"):
        LoadRoIAnnotations(with_mask=True)(results)


def square_at(x: int) -> dict[str, Any]:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[2:6, x : x + 4] = 1
    return compressed(bitmap)


@pytest.mark.parametrize("with_mask", [True, False])
def test_a_map_of_classes_is_drawn_from_the_masks(with_mask: bool) -> None:
    load = LoadRoIAnnotations(with_mask=with_mask, with_seg=True, background_label=3)
    # Labels 0, 1, 2 and 0, of which the last is ignored; each covers two columns of the one before.
    loaded = load(results_of([square_at(x) for x in (1, 3, 5, 7)]))
    row = [3, 0, 0, 1, 1, 2, 2, 255, 255, 255, 255, 3]
    expected = np.full((HEIGHT, WIDTH), 3, np.uint8)
    expected[2:6, : len(row)] = row
    assert loaded["gt_seg_map"].dtype == np.uint8
    assert np.array_equal(loaded["gt_seg_map"], expected)
    assert loaded["ignore_index"] == 255
    assert ("gt_masks" in loaded) == with_mask


def test_what_is_ignored_is_no_other_class_whichever_comes_later() -> None:
    results = results_of([square_at(1), square_at(3)])
    results["instances"][0]["ignore_flag"] = 1
    loaded = LoadRoIAnnotations(with_seg=True, background_label=3)(results)
    assert loaded["gt_seg_map"][3, :8].tolist() == [3, 255, 255, 255, 255, 1, 1, 3]


def test_an_image_without_cells_is_background() -> None:
    loaded = LoadRoIAnnotations(with_seg=True, background_label=1)(results_of([]))
    assert (loaded["gt_seg_map"] == 1).all() and loaded["gt_seg_map"].shape == (HEIGHT, WIDTH)


def test_a_map_of_classes_that_is_there_is_read(tmp_path: Path) -> None:
    drawn = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 3
    cv2.imwrite(str(tmp_path / "map.png"), drawn)
    results = results_of([square_at(1)]) | {"seg_map_path": str(tmp_path / "map.png")}
    assert np.array_equal(LoadRoIAnnotations(with_seg=True)(results)["gt_seg_map"], drawn)


def test_a_background_without_a_label_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dir/cells\.png has no seg_map_path.*background_label"):
        LoadRoIAnnotations(with_seg=True)(results_of([square_at(1)]))
    with pytest.raises(ConfigError, match="0 to 254; got 255"):
        LoadRoIAnnotations(with_seg=True, background_label=255)


def test_the_map_of_classes_moves_with_the_masks() -> None:
    load = LoadRoIAnnotations(with_mask=True, with_seg=True, background_label=3)
    results = load(results_of([square_at(1), square_at(9), square_at(17)]))
    results["img"], results["img_shape"] = np.zeros((HEIGHT, WIDTH, 3), np.uint8), (HEIGHT, WIDTH)
    for step in (
        dict(type="Resize", scale=(70, 60)),
        dict(type="RandomFlip", prob=1.0),
        dict(type="Pad", size_divisor=32, pad_val=dict(img=0, seg=3)),
    ):
        results = TRANSFORMS.build(step)(results)
    drawn = np.full(results["gt_seg_map"].shape, 3, np.uint8)
    for label, mask in zip(results["gt_bboxes_labels"], results["gt_masks"], strict=True):
        drawn[mask > 0] = label
    assert np.array_equal(results["gt_seg_map"], drawn)
    packed = PackDetInputs()(results)["data_samples"]
    assert packed.gt_sem_seg.sem_seg.shape == (1, 64, 96)
