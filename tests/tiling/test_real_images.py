"""Real images cut into 2 to 9 tiles, against the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet import load_model
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.tiling.pictures import ArrayPicture
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.regions import decode_by_region
from cellseg_mmdet.tiling.scratch import Scratch
from cellseg_mmdet.tiling.sized_maps import SizedMaps
from tests.tiling.networks import lite_detector, unet_detector

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

MAKERS = {
    "lite": lambda: lite_detector("RimCode"),
    "u-net": lambda: unet_detector("BoundaryDistanceCode"),
}


def nuclei(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.glob("stage1_train/*/images/*.png"))[:12]:
        yield cv2.imread(str(path))


def cultures(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.glob("train/*.png"))[:3]:
        yield cv2.imread(str(path))


@pytest.fixture(scope="module", params=MAKERS)
def detector(request: pytest.FixtureRequest) -> PixelDetector:
    return MAKERS[request.param]()


def compare(detector: PixelDetector, images: Iterator[np.ndarray]) -> None:
    """Untrained maps have values near every threshold: what last bits of sums change is told apart from faults."""
    num_cells = num_other = 0
    for number, pixels in enumerate(images):
        size_hw = height, width = pixels.shape[:2]
        # Two tiles, four, and nine.
        tile = int([max(height, width) / parts for parts in (1.5, 2, 3)][number % 3])
        data = {
            "inputs": [torch.from_numpy(pixels.transpose(2, 0, 1).copy())],
            "data_samples": None,
        }
        whole = detector.predict_maps(detector.data_preprocessor(data)["inputs"])[0].numpy()
        with Scratch(limit_bytes=1e9) as scratch:
            maps = PixelMaps(detector, tile=tile)(ArrayPicture(pixels), scratch)
        np.testing.assert_allclose(maps, whole, rtol=0, atol=5e-5)
        by_region = decode_by_region(detector, SizedMaps(maps, size_hw, detector.code), block=100)
        at_once = detector.decoded(maps)
        assert by_region.masks == at_once.masks
        np.testing.assert_array_equal(by_region.scores, at_once.scores)
        wanted = set(detector.decoded(whole).masks.to_strings(order="row"))
        found = set(by_region.masks.to_strings(order="row"))
        num_cells, num_other = num_cells + len(wanted), num_other + len(wanted - found)
    print(f"{num_cells} cells, {num_other} differ")
    assert num_cells > 1000
    assert num_other <= num_cells / 1000


def test_nuclei(detector: PixelDetector, dsb2018: Path) -> None:
    compare(detector, nuclei(dsb2018))


def test_cultures(detector: PixelDetector, sartorius: Path) -> None:
    compare(detector, cultures(sartorius))


@pytest.mark.parametrize("name", ["nuclei", "phase"])
def test_models_that_ship(name: str, request: pytest.FixtureRequest) -> None:
    # No cell differs: what a model has learned is not near a threshold.
    if name == "nuclei":
        images = list(nuclei(request.getfixturevalue("dsb2018")))
    else:
        images = list(cultures(request.getfixturevalue("sartorius")))
    model = load_model(name, device="cpu")
    num_cells = 0
    for number, pixels in enumerate(images):
        sides = [max(pixels.shape[:2]) / parts for parts in (1.5, 2, 3)]
        tile = max(int(sides[number % 3]), 64)
        rgb = np.ascontiguousarray(pixels[..., ::-1])
        whole, tiles = model(rgb, tile="off"), model(rgb, tile=tile)
        assert tiles.masks == whole.masks
        np.testing.assert_allclose(tiles.scores, whole.scores, rtol=0, atol=1e-5)
        num_cells += len(whole)
    print(f"{num_cells} cells, none differs")
    assert num_cells > 300
