"""Detectors on real pictures, cut into 2 to 9 tiles and as a whole: no cell differs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet.tiling.detectors import TiledDetector
from tests.tiling.small_detectors import build, in_tiles, seen, whole

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

ENLARGED = 2.0


def pictures(folder: Path, pattern: str, count: int) -> list[np.ndarray]:
    paths = sorted(folder.glob(pattern))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    assert len(chosen) == count
    return [cv2.imread(str(path)) for path in chosen]


@pytest.mark.parametrize(
    "name", ["mask-rcnn", "mask-rcnn with group norm", "cascade"], ids=lambda name: name
)
def test_no_cell_differs(name: str, dsb2018: Path, sartorius: Path) -> None:
    norm = "GN" if name.endswith("norm") else "BN"
    model = build(name.partition(" ")[0], norm, dtype=torch.float64)
    model.roi_head.test_cfg.max_per_img = 200
    tiled = TiledDetector(model)
    images = [
        *pictures(dsb2018, "stage1_train/*/images/*.png", 4),
        *pictures(sartorius, "train/*.png", 2),
    ]
    cells = 0
    for number, image in enumerate(images):
        shown = seen(image, (ENLARGED, ENLARGED))
        expected = whole(model, shown)
        height, width = shown.picture.size_hw
        # 1 x 2 tiles of a wide picture, 2 x 2, 3 x 3
        tiled.tile = [max(height, width // 2 + 32), max(height, width) // 2 + 32, width // 3 + 32][
            number % 3
        ]
        assert 1 < tiled.cost((height, width)).tiles <= 12
        found = in_tiles(tiled, shown)
        assert np.array_equal(found.labels, expected.labels)
        assert np.allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
        assert found.masks == expected.masks
        cells += len(expected)
    assert cells > 300
