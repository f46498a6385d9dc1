"""mmdet's own transforms give with `RoIMasks` what they give with N full bitmaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
from mmdet.models import DetDataPreprocessor
from mmdet.structures.bbox import BaseBoxes
from mmdet.structures.mask import BitmapMasks

from cellseg_mmdet.masks.roi_masks import RoIMasks

FLIPS = ["horizontal", "vertical", "diagonal"]
TRANSFORMS = [
    dict(type="Resize", scale=(200, 90)),
    dict(type="Resize", scale=(200, 90), keep_ratio=True),
    dict(type="Resize", scale_factor=(0.7, 1.9)),
    dict(type="RandomChoiceResize", scales=[(333, 333), (90, 60)], keep_ratio=True),
    dict(type="RandomResize", scale=(150, 120), ratio_range=(0.3, 2.0), keep_ratio=True),
    dict(type="RandomFlip", prob=1.0, direction=FLIPS),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCrop", crop_size=(60, 40)),
    dict(type="RandomCrop", crop_size=(60, 40), recompute_bbox=True),
    dict(type="RandomCrop", crop_size=(500, 40), recompute_bbox=True, allow_negative_crop=True),
    dict(type="RandomCrop", crop_size=(0.3, 0.5), crop_type="relative_range"),
    dict(type="Pad", size=(160, 170)),
    dict(type="Pad", size_divisor=32),
    dict(type="Expand", mean=(7, 8, 9), prob=1.0),
    dict(type="Rotate", max_mag=30.0),
    dict(type="ShearX", max_mag=30.0),
    dict(type="ShearY", max_mag=30.0),
    dict(type="TranslateX", max_mag=0.4),
    dict(type="TranslateY", max_mag=0.4),
]


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, BitmapMasks):
        assert isinstance(found, RoIMasks)
        shape = len(expected), expected.height, expected.width
        assert (len(found), found.height, found.width) == shape
        assert np.array_equal(found.to_ndarray(), expected.masks.reshape(shape))
    elif isinstance(expected, BaseBoxes):
        assert found.tensor.equal(expected.tensor)
    elif isinstance(expected, np.ndarray | torch.Tensor):
        assert found.dtype == expected.dtype
        assert np.array_equal(np.asarray(found), np.asarray(expected))
    else:
        assert found == expected


@pytest.fixture(params=[0, 1, 40], ids=["no cell", "one cell", "40 cells"])
def pair(request: Any, draw_cells: Callable, from_label_map: Callable) -> tuple[Any, Any]:
    """Return the same image with `RoIMasks`, and as mmdet loads it; every fifth cell is ignored."""
    labels = draw_cells(request.param)
    both = from_label_map(labels), from_label_map(labels, load=LoadAnnotations)
    for results in both:
        results["gt_ignore_flags"][::5] = True
    return both


@pytest.mark.parametrize("config", TRANSFORMS, ids=lambda config: config["type"])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_for_the_same_seed(pair: Any, run: Callable, config: Any, seed: int) -> None:
    ours, stock = (run(config, results, seed) for results in pair)
    assert (ours is None) == (stock is None)  # a crop without cells, which mmdet draws again
    if stock is not None:
        assert ours.keys() == stock.keys()
        for key in stock:
            assert_same(ours[key], stock[key])


def test_a_whole_pipeline_to_the_batch(pair: Any, run: Callable) -> None:
    def batch(results: Any) -> dict[str, Any]:
        for config in (
            dict(type="RandomChoiceResize", scales=[(333, 333), (210, 210)], keep_ratio=True),
            dict(type="RandomFlip", prob=0.9, direction=FLIPS),
        ):
            results = run(config, results, seed=3)
        packed = PackDetInputs()(results)
        prepare = DetDataPreprocessor(
            mean=[1, 2, 3], std=[4, 5, 6], pad_mask=True, pad_size_divisor=32
        )
        return prepare(
            {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}, training=True
        )

    ours, stock = (batch(results) for results in pair)
    assert ours["inputs"].equal(stock["inputs"])
    found, expected = ours["data_samples"][0], stock["data_samples"][0]
    assert found.metainfo == expected.metainfo
    for part in ("gt_instances", "ignored_instances"):
        for key in ("bboxes", "labels", "masks"):
            assert_same(found.get(part)[key], expected.get(part)[key])
    assert found.gt_instances.masks.height == ours["inputs"].shape[2]
