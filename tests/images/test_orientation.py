"""One rule for EXIF's and TIFF's orientation, sizes and windows included."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageOps

from cellseg_mmdet.images import image_size_hw, open_image, read_image
from cellseg_mmdet.images.orientation import Window, oriented_size, stored_window, upright
from tests.images.written import gray, rgb

EVERY = range(1, 9)


def with_exif(path: Path, pixels: np.ndarray, orientation: int, **options: object) -> Path:
    exif = PillowImage.Exif()
    exif[274] = orientation
    PillowImage.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", EVERY)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_exif_as_pillow_turns_it(tmp_path: Path, orientation: int, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    path = with_exif(tmp_path / f"a{suffix}", rgb(), orientation, **options)
    turned = ImageOps.exif_transpose(PillowImage.open(path))
    np.testing.assert_array_equal(read_image(path).pixels, np.asarray(turned))
    assert image_size_hw(path) == turned.size[::-1]


@pytest.mark.parametrize("orientation", EVERY)
def test_tiff_tag(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.tif"
    stored = gray(np.uint16)
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(
        path,
        stored,
        extratags=[tag],
        metadata=None,
        tile=(16, 16),
        resolution=(40000, 20000),
        resolutionunit="CENTIMETER",
    )
    expected = np.asarray(
        ImageOps.exif_transpose(
            PillowImage.open(
                with_exif(tmp_path / "b.png", (stored >> 8).astype(np.uint8), orientation)
            )
        )
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[..., 0] >> 8, expected)
    assert image.pixel_size_um == ((0.5, 0.25) if orientation < 5 else (0.25, 0.5))
    assert image_size_hw(path) == image.size_hw
    with open_image(path) as source:
        part = source.read_window(5, 9, 30, 21)
    np.testing.assert_array_equal(part, image.pixels[5:35, 9:30])


def test_as_opencv_turns_jpeg(tmp_path: Path) -> None:
    for orientation in EVERY:
        path = with_exif(tmp_path / "a.jpg", rgb(), orientation, quality=90)
        pixels = read_image(path).pixels
        np.testing.assert_array_equal(pixels[..., ::-1], cv2.imread(str(path)))


@given(data=st.data(), orientation=st.sampled_from(EVERY))
def test_windows(data: st.DataObject, orientation: int) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    stored = np.arange(height * width).reshape(height, width)
    whole = upright(stored, orientation)
    size_hw = oriented_size((height, width), orientation)
    assert whole.shape == size_hw
    y0, x0 = data.draw(st.integers(0, size_hw[0] - 1)), data.draw(st.integers(0, size_hw[1] - 1))
    window = Window(
        y0,
        x0,
        data.draw(st.integers(1, size_hw[0] - y0)),
        data.draw(st.integers(1, size_hw[1] - x0)),
    )
    at = stored_window(window, size_hw, orientation)
    part = upright(stored[at.y0 : at.y0 + at.height, at.x0 : at.x0 + at.width], orientation)
    np.testing.assert_array_equal(part, whole[y0 : y0 + window.height, x0 : x0 + window.width])


def test_a_tag_without_meaning_leaves_the_picture(tmp_path: Path) -> None:
    path = with_exif(tmp_path / "a.png", gray(), 0)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], gray())
