from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope

from cellseg_mmdet.datasets.transforms import LoadRoIAnnotations
from cellseg_mmdet.masks.runs import Runs

Results = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def mmdet_scope() -> None:
    init_default_scope("mmdet")


@pytest.fixture
def from_label_map() -> Callable[..., Results]:
    """Return what makes a pipeline's input of a label map: cells have label ``id - 1``, and 250 - id gray levels."""

    def build(label_map: np.ndarray, load: type = LoadRoIAnnotations, **more: Any) -> Results:
        runs = Runs.from_label_map(label_map)
        ids = np.unique(label_map[label_map > 0]).tolist()
        rows = zip(ids, runs.to_coco(text=True), runs.boxes.tolist(), strict=True)
        gray = np.where(label_map > 0, 250 - label_map, 0).astype(np.uint8)
        results = {
            "img": gray[..., None].repeat(3, axis=2),
            "img_path": "image.png",
            "img_shape": label_map.shape,
            "ori_shape": label_map.shape,
            "instances": [
                {"bbox": box, "bbox_label": index - 1, "ignore_flag": 0, "mask": rle}
                for index, rle, box in rows
            ],
        }
        return load(with_mask=True)(results | more)

    return build


@pytest.fixture
def draw_cells() -> Callable[..., np.ndarray]:
    """Return what draws a label map of elliptic cells, which may touch each other and the border."""

    def draw(
        num_cells: int, height: int = 120, width: int = 150, seed: int = 0, radius: int = 12
    ) -> np.ndarray:
        generator = np.random.default_rng(seed)
        labels = np.zeros((height, width), np.int32)
        for index in range(1, num_cells + 1):
            centre = generator.integers(0, [width, height]).tolist()
            axes = generator.integers(4, radius + 1, 2).tolist()
            cv2.ellipse(labels, centre, axes, float(generator.uniform(0, 180)), 0, 360, index, -1)
        return labels

    return draw


@pytest.fixture
def run() -> Callable[..., Results]:
    """Return what builds a transform from its config and applies it with a seed."""

    def apply(config: dict[str, Any], results: Results, seed: int = 0) -> Results:
        np.random.seed(seed)
        return TRANSFORMS.build(config)(results)

    return apply
