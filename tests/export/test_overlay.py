from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.export import WRITERS, overlay
from cellseg_mmdet.images import PlaneSelection
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction
from cellseg_mmdet.visualization.draw import draw_instances
from tests.export.scenes import CLASSES, HEIGHT, WIDTH, picture_of, prediction, write


def drawn(folder: Path, **options: object) -> np.ndarray:
    write("overlay", folder, prediction(), **options)
    return cv2.imread(str(folder / "overlays/a.png"))


@pytest.mark.parametrize("max_pixels", [1, 300, 1 << 22])
def test_the_drawing_stands_above_its_legend(
    tmp_path: Path, max_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "_MAX_PIXELS", max_pixels)
    found = drawn(tmp_path)
    assert found.shape[0] > 2 * HEIGHT and found.shape[1] == 2 * WIDTH
    colors = np.array([[0, 159, 230], [255, 190, 86]], np.uint8)[prediction().labels]
    image = np.full((HEIGHT, WIDTH), 40, np.uint8)
    expected = draw_instances(image, prediction().masks, colors=colors)
    np.testing.assert_array_equal(found[: 2 * HEIGHT], expected)


def test_sizes_are_chosen_or_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(tmp_path, scale=3).shape[1] == 3 * WIDTH
    monkeypatch.setattr(overlay, "_LARGEST_ENLARGED_PX", WIDTH - 1)
    assert drawn(tmp_path).shape[1] == WIDTH
    with pytest.raises(ConfigError, match="scale=0"):
        drawn(tmp_path, scale=0)


def test_one_class_leaves_neighbours_apart(tmp_path: Path) -> None:
    writer = WRITERS.get("overlay")()
    writer.open(tmp_path, ("cell",))
    label_map = np.array([[1, 1, 2, 2]] * 4).repeat(3, axis=0).repeat(3, axis=1)
    masks = Runs.from_label_map(label_map)
    found = ImagePrediction("a", 1, 12, 12, masks.boxes, np.ones(2), np.zeros(2, int), masks)
    writer.add(found, picture_of(found))
    pixels = cv2.imread(str(tmp_path / "overlays/a.png"))
    assert (pixels[10, 2] != pixels[10, 20]).any()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_image_that_is_not_read_yet_is_read_by_window(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    if name == "a.tif":  # four channels of 16 bits: the first three are shown, stretched
        pixels = random.integers(0, 4000, (4, HEIGHT, WIDTH), dtype=np.uint16)
        tifffile.imwrite(tmp_path / name, pixels, metadata={"axes": "CYX"}, ome=True)
        key = ImageKey(str(tmp_path / name), name="a")
    else:
        cv2.imwrite(str(tmp_path / name), random.integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8))
        key = ImageKey(str(tmp_path / name), name="a")
    selection = PlaneSelection(channel=(0, 1, 2, 3)) if name == "a.tif" else None
    expected = Picture(key, selection).bgr8
    for is_read in (False, True):
        picture = Picture(key, selection)
        if is_read:
            assert picture.image.size_hw == (HEIGHT, WIDTH)
        with picture.bgr8_reader() as rows:
            parts = [rows(y, y + 4) for y in range(0, HEIGHT, 4)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)
        writer = WRITERS.get("overlay")(scale=1)
        writer.open(tmp_path / "out", CLASSES)
        writer.add(prediction().select(np.zeros(0, int)), picture)
        found = cv2.imread(str(tmp_path / "out/overlays/a.png"))
        np.testing.assert_array_equal(found[:HEIGHT], expected)
