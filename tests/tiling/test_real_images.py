"""Real images cut into 2 to 9 tiles, against the whole: no cell differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.models.pixel import PixelDetector
from tests.tiling.networks import lite_detector, unet_detector
from tests.tiling.test_pixel import assert_same, tiled, whole

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

MAKERS = {
    "lite": lambda: lite_detector("RimCode"),
    "u-net": lambda: unet_detector("BoundaryDistanceCode"),
}


def nuclei(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.glob("stage1_train/*/images/*.png"))[:20]:
        yield cv2.imread(str(path))


def cultures(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.glob("train/*.png"))[:6]:
        yield cv2.imread(str(path))


@pytest.fixture(scope="module", params=MAKERS)
def detector(request: pytest.FixtureRequest) -> PixelDetector:
    return MAKERS[request.param]()


def compare(detector: PixelDetector, images: Iterator[np.ndarray]) -> None:
    num_cells = 0
    for number, pixels in enumerate(images):
        height, width = pixels.shape[:2]
        # Two tiles, four, and nine.
        sides = [max(height, width) / parts for parts in (1.5, 2, 3)]
        tile = int(sides[number % len(sides)])
        expected = whole(detector, pixels, (height, width))
        assert_same(tiled(detector, pixels, (height, width), tile=tile, whole=True), expected)
        num_cells += len(expected.scores)
    assert num_cells > 1000


def test_nuclei(detector: PixelDetector, dsb2018: Path) -> None:
    compare(detector, nuclei(dsb2018))


def test_cultures(detector: PixelDetector, sartorius: Path) -> None:
    compare(detector, cultures(sartorius))
