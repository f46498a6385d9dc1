"""A pipeline of mmdet's transforms, to the batch, gives with `RoIMasks` what it gives with N full bitmaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
from mmdet.models import DetDataPreprocessor
from mmdet.models.utils import mask2ndarray
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.masks.encoded import EncodedMasks
from tests.datasets.transforms.same import assert_same

FLIPS = ["horizontal", "vertical", "diagonal"]


@pytest.fixture(params=[0, 1, 40], ids=["no cell", "one cell", "40 cells"])
def pair(request: Any, draw_cells: Callable, from_label_map: Callable) -> tuple[Any, Any]:
    """Return the same image with `RoIMasks`, and as mmdet loads it; every fifth cell is ignored."""
    labels = draw_cells(request.param)
    both = from_label_map(labels), from_label_map(labels, load=LoadAnnotations)
    for results in both:
        results["gt_ignore_flags"][::5] = True
    return both


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


@pytest.mark.filterwarnings("ignore:.*polygon is out of bounds", "ignore:__array_wrap__")
def test_pictures_of_mmdet_are_the_same(pair: Any) -> None:
    """What its browse_dataset and its visualization hooks draw, and predictions that are `EncodedMasks`."""
    drawn = []
    for results in pair:
        packed = PackDetInputs()(results)
        image, sample = packed["inputs"].permute(1, 2, 0).numpy(), packed["data_samples"]
        truth = sample.gt_instances
        truth.bboxes = truth.bboxes.tensor
        found = InstanceData(bboxes=truth.bboxes, labels=truth.labels)
        runs = RoIMasks.from_ndarray(mask2ndarray(truth.masks)).to_runs()
        found.masks = EncodedMasks(runs) if isinstance(truth.masks, RoIMasks) else truth.masks
        found.scores = truth.labels / 50
        sample.pred_instances = found
        visualizer = DetLocalVisualizer(mask_color=(200, 30, 90))
        np.random.seed(0)  # it shakes colours
        visualizer.add_datasample("cells", image, sample, pred_score_thr=0.0)
        drawn.append(visualizer.get_image())
    assert np.array_equal(*drawn)
