"""What cannot be decoded is an error that names the file; it is never filled with black."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from cellseg_mmdet.images import ImageError, ImageKey, open_image, read_image
from tests.images.written import Written, gray, plain_files, rgb, tiff_files

FILES = [*plain_files(), *tiff_files()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("kept", [0.03, 0.6, 0.95])
def test_truncated_files(file: Written, kept: float, tmp_path: Path) -> None:
    path = tmp_path / file.name
    file.write(path)
    whole, data = read_image(path).pixels, path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    try:
        pixels = read_image(path).pixels
    except ImageError as error:
        text = str(error)
    else:  # only padding, or what stands behind the pixels, is lost
        np.testing.assert_array_equal(pixels, whole)
        text = str(path) if kept == 0.95 else "an image with less than its pixels was read"
    assert text.startswith(str(path))


CODED = [
    file
    for file in tiff_files()
    if file.name.split("_")[0]
    in ("lzw", "deflate", "zstd", "lzma", "jpeg2000", "jpegxl", "lerc", "webp", "jpeg", "predictor")
]


@pytest.mark.parametrize("file", CODED, ids=lambda file: file.name)
@pytest.mark.parametrize("damage", ["zeros", "cut", "none"])
def test_a_strip_that_fails_in_the_middle(file: Written, damage: str, tmp_path: Path) -> None:
    path = tmp_path / file.name
    file.write(path)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        number = len(page.dataoffsets) // 2
        offset, length = page.dataoffsets[number], page.databytecounts[number]
    if damage == "zeros":
        data[offset : offset + length] = bytes(length)
    else:
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tag = tiff.pages.first.tags["TileByteCounts" if page.is_tiled else "StripByteCounts"]
            counts = list(tag.value)
            counts[number] = length // 2 if damage == "cut" else 0
            tag.overwrite(counts)
        data = bytearray(path.read_bytes())
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"(strip|tile) {number} of \d+"):
        read_image(path)


def test_the_rest_of_a_file_with_a_damaged_strip_is_read_by_window(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = gray(np.uint16)
    tifffile.imwrite(path, pixels, compression="zstd", rowsperstrip=10)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[3]
    data = bytearray(path.read_bytes())
    data[offset : offset + 8] = bytes(8)
    path.write_bytes(data)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read_window(0, 0, 30, 40)[..., 0], pixels[:30, :40])
        with pytest.raises(
            ImageError, match=r"strip 3 of 7 cannot be decoded \(TIFF, zstd, uint16"
        ):
            source.read_window(0, 0, 31, 40)


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    files = {"a.png": imagecodecs.png_encode(rgb()), "a.jpg": imagecodecs.jpeg8_encode(rgb())}
    for name, data in files.items():
        middle = len(data) // 2
        path = tmp_path / name
        path.write_bytes(data[:middle] + bytes(60) + data[middle + 60 :])
        with pytest.raises(ImageError, match=name):
            read_image(path)
    # With an end marker behind the cut, libjpeg fills the rest with gray and only warns.
    data = files["a.jpg"]
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with pytest.raises(ImageError, match=r"a\.jpg: .*damaged"):
        read_image(path)


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name, message in (
        ("empty.png", "is empty"),
        ("text.png", r"no format that is read \(10 bytes\)"),
        ("missing.png", "no such file"),
    ):
        with pytest.raises(ImageError, match=rf"{name}: .*{message}"):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="photo: is of no format"):
        read_image(b"GIF89a", name="photo")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    with pytest.raises(ImageError, match=r"object\.npy"):
        read_image(tmp_path / "object.npy")


def test_types_and_colours_that_are_not_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "complex.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.complex64))
    with pytest.raises(ImageError, match=r"complex\.tif: TIFF, none, complex64, 9 x 9"):
        read_image(path)
    path = tmp_path / "lab.tif"
    tifffile.imwrite(path, rgb(), photometric="cielab")
    with pytest.raises(ImageError, match=r"CIELAB.*save it as gray or RGB"):
        read_image(path)


def test_the_limit_on_size_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    # 20,000 x 20,000 pixels are more than the 179 megapixels at which Pillow stops.
    tifffile.imwrite(
        path,
        shape=(20_000, 20_000),
        dtype=np.uint8,
        tile=(512, 512),
        data=_tiles(),
        compression="zstd",
    )
    with open_image(path) as source:
        assert source.size_hw == (20_000, 20_000)
        assert source.read_window(19_000, 100, 40, 50).shape == (40, 50, 1)
    with (
        pytest.raises(ImageError, match="400000 allowed"),
        open_image(path, max_pixels=400_000) as source,
    ):
        source.read()
    data = imagecodecs.png_encode(np.zeros((20_000, 9_500), np.uint8), level=1)
    assert read_image(data, name="large.png").size_hw == (20_000, 9_500)


def _tiles():
    tile = np.full((512, 512), 7, np.uint8)
    return (tile for _ in range(40 * 40))


def test_windows_outside_are_refused() -> None:
    with open_image(gray()) as source:
        for window in ((-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 62, 5), (60, 0, 2, 1), (0, 40, 1, 8)):
            with pytest.raises(ImageError, match="no window of 61 x 47"):
                source.read_window(*window)
        assert source.key == ImageKey("array", name="array")
