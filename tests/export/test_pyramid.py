"""Overlays of large pictures: OME-TIFFs in tiles, with levels."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellseg_mmdet.export import overlay, pyramid
from cellseg_mmdet.export.pyramid import halved, write_pyramid
from cellseg_mmdet.images import open_image
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction
from cellseg_mmdet.visualization.draw import overlays
from tests.export.scenes import prediction, write

UUID = "urn:uuid:50538884-2821-5d4f-b8a5-604012392431"


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("max_pixels", [1, 77, 1 << 22])
def test_a_large_overlay_has_the_pixels_of_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: int, max_pixels: int
) -> None:
    write("overlay", tmp_path, prediction(), scale=scale)
    expected = cv2.imread(str(tmp_path / "overlays/a.png"))[..., ::-1]
    monkeypatch.setattr(overlay, "_LARGEST_PNG_PX", 19)
    monkeypatch.setattr(overlay, "_MAX_PIXELS", max_pixels)
    monkeypatch.setattr(pyramid, "TILE_PX", 16)
    monkeypatch.setattr(pyramid, "_SMALLEST_PX", 8)
    for folder in ("one", "two"):
        write("overlay", tmp_path / folder, prediction(), scale=scale)
    path = tmp_path / "one/overlays/a.tif"
    assert path.read_bytes() == (tmp_path / "two/overlays/a.tif").read_bytes()
    with tifffile.TiffFile(path) as file:
        levels = file.series[0].levels
        assert len(levels) > 2 and levels[0].axes == "YXS" and levels[0].keyframe.is_tiled
        for level in levels:
            np.testing.assert_array_equal(level.asarray(), expected)
            expected = halved(expected)
    with open_image(path) as source:
        width, height = 0.25 / scale, 0.5 / scale
        assert source.pixel_size_um == (height, width)
        assert source.size_hw == levels[0].shape[:2]


@pytest.mark.parametrize("shape", [(1, 1), (33, 16), (17, 50)])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_levels_are_means_of_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], rows: int
) -> None:
    monkeypatch.setattr(pyramid, "TILE_PX", 16)
    monkeypatch.setattr(pyramid, "_SMALLEST_PX", 10)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    parts = (image[begin : begin + rows] for begin in range(0, len(image), rows))
    write_pyramid(tmp_path / "a.tif", parts, shape, name="a", uuid=UUID)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        found = [level.asarray() for level in file.series[0].levels]
    for one in found:
        np.testing.assert_array_equal(one, image)
        padded = np.pad(image, [(0, len(image) % 2), (0, image.shape[1] % 2), (0, 0)], mode="edge")
        blocks = padded.reshape(len(padded) // 2, 2, padded.shape[1] // 2, 2, 3)
        image = np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)
    assert max(found[-1].shape[:2]) <= 10


@pytest.mark.slow
def test_a_large_overlay_is_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "_LARGEST_PNG_PX", 4000)
    monkeypatch.setattr(overlay, "_MAX_PIXELS", 1 << 18)
    monkeypatch.setattr(overlays, "_MAX_PIXELS", 1 << 18)
    size = 4352
    tile = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    path, count = tmp_path / "large.tif", (size // 256) ** 2
    tifffile.imwrite(
        path, (tile for _ in range(count)), shape=(size, size), dtype=np.uint8, tile=(256, 256)
    )
    corners = np.arange(20, size - 40, 64)
    starts = (corners[:, None] + np.arange(30)).reshape(-1, 1) * size + corners
    starts = starts.reshape(len(corners), 30, len(corners)).transpose(0, 2, 1)  # cell by cell
    num_cells = len(corners) ** 2
    masks = Runs(
        starts.ravel(), np.full(starts.size, 30), 30 * np.arange(num_cells + 1), size, size
    )
    found = ImagePrediction(
        "large", 1, size, size, masks.boxes, np.ones(num_cells), np.zeros(num_cells, int), masks
    )
    writer = overlay.OverlayWriter()
    writer.open(tmp_path, ("cell",))
    tracemalloc.start()
    try:
        (written,) = writer.write(found, Picture(ImageKey(str(path), name="large")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written.suffix == ".tif"
    assert peak < 40e6  # the picture in colours is 57 MB, its label map 76
