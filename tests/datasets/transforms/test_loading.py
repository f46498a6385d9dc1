from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BaseInstanceMasks
from pycocotools import mask as coco_mask

from cellseg_mmdet.datasets.transforms import LoadRoIAnnotations
from cellseg_mmdet.errors import DataError
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
@settings(max_examples=150, deadline=None)
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
    assert isinstance(masks, BaseInstanceMasks)
    assert (len(masks), masks.height, masks.width) == (0, HEIGHT, WIDTH)


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
