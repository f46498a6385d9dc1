from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.inference.images import ImageError, find_images, read_image, to_bgr8


@pytest.fixture
def gray() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_gray_file_becomes_three_equal_channels(
    tmp_path: Path, gray: np.ndarray, suffix: str
) -> None:
    image = read_image(write(tmp_path / f"a{suffix}", gray))
    assert image.dtype == np.uint8
    assert (image == gray[:, :, None]).all()


def test_color_keeps_its_order_and_alpha_is_dropped(tmp_path: Path) -> None:
    bgra = np.random.default_rng(1).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    assert (read_image(write(tmp_path / "rgba.png", bgra)) == bgra[..., :3]).all()
    assert (read_image(write(tmp_path / "rgb.png", bgra[..., :3])) == bgra[..., :3]).all()


def test_jpeg_is_read_nearly_as_written(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))
    image = read_image(write(tmp_path / "a.jpg", ramp))
    assert np.abs(image.astype(int) - ramp[:, :, None]).max() <= 8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_8_bit_values_in_a_16_bit_file_stay(tmp_path: Path, gray: np.ndarray, suffix: str) -> None:
    assert (
        read_image(write(tmp_path / f"a{suffix}", gray.astype(np.uint16))) == gray[:, :, None]
    ).all()


def test_12_bit_ramp_in_a_16_bit_file_fills_8_bits(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(4096, dtype=np.uint16), (4, 1))
    image = read_image(write(tmp_path / "a.png", ramp))[..., 0]
    low, high = 0.001 * 4095, 0.999 * 4095
    expected = ((ramp - low) / (high - low) * 255).clip(0, 255)
    assert np.abs(image - expected).max() <= 0.51
    assert image.min() == 0 and image.max() == 255


def test_hot_pixels_do_not_decide_the_contrast() -> None:
    ramp = np.tile(np.arange(1000, 2000, dtype=np.uint16), (100, 1))
    with_hot = ramp.copy()
    with_hot[0, :5] = 65535
    assert np.abs(to_bgr8(with_hot)[1:].astype(int) - to_bgr8(ramp)[1:]).max() <= 1


def test_one_value_alone_does_not_divide_by_zero() -> None:
    assert (to_bgr8(np.full((4, 5), 3000, np.uint16)) == 0).all()
    one_bright = np.full((100, 100), 3000, np.uint16)
    one_bright[5, 5] = 4000
    assert to_bgr8(one_bright)[5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 5), np.float32), "float32"),
        (np.zeros((4, 5, 2), np.uint8), r"\(4, 5, 2\)"),
        (np.zeros((0, 5), np.uint8), r"\(0, 5\)"),
        (np.zeros(7, np.uint8), r"\(7,\)"),
    ],
)
def test_other_pixels_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_bgr8(pixels)


def test_damaged_missing_and_many_paged_files_are_named(tmp_path: Path, gray: np.ndarray) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(write(tmp_path / "whole.png", gray).read_bytes()[:200])
    empty = tmp_path / "empty.png"
    empty.touch()
    text = tmp_path / "text.png"
    text.write_text("no picture")
    pages = tmp_path / "pages.tif"
    assert cv2.imwritemulti(str(pages), [gray, gray])
    for path in (damaged, empty, text, pages, tmp_path / "missing.png"):
        with pytest.raises(ImageError, match=path.name):
            read_image(path)


def test_find_images_takes_files_and_folders_and_only_on_request_sub_folders(
    tmp_path: Path, gray: np.ndarray
) -> None:
    for name in ("one/b.png", "one/a.TIF", "one/deep/c.png", "two/d.jpg"):
        write(tmp_path / name, gray)
    (tmp_path / "one/notes.txt").write_text("not an image")
    (tmp_path / "one/._b.png").write_bytes(b"what macOS leaves beside b.png")
    flat = find_images([tmp_path / "two/d.jpg", tmp_path / "one", tmp_path / "one/a.TIF"])
    assert list(flat) == ["d", "a", "b"]
    assert list(find_images([tmp_path / "one"], recursive=True)) == ["a", "b", "c"]


def test_find_images_refuses_two_images_of_one_name(tmp_path: Path, gray: np.ndarray) -> None:
    write(tmp_path / "one/a.png", gray)
    write(tmp_path / "two/a.tif", gray)
    with pytest.raises(ImageError, match=r"a\.png and .*a\.tif share the name 'a'"):
        find_images([tmp_path / "one", tmp_path / "two"])


def test_find_images_names_what_is_not_there(tmp_path: Path, gray: np.ndarray) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        find_images([tmp_path / "missing"])
    write(tmp_path / "outer/inner/a.png", gray)
    with pytest.raises(FileNotFoundError, match=r"no image in this folder.*--recursive"):
        find_images([tmp_path / "outer"])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ImageError, match=r"notes\.txt.*\.png"):
        find_images([tmp_path / "notes.txt"])
