"""`LoadCellImage`: what training and test see of an image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from mmcv.transforms import LoadImageFromFile
from PIL import Image as PillowImage

from cellseg_mmdet.datasets import LoadCellImage
from cellseg_mmdet.datasets.transforms import loading
from cellseg_mmdet.errors import ConfigError, ImageError
from cellseg_mmdet.images import read_image


def load(path: Path, **options: object) -> dict[str, object]:
    return LoadCellImage(**options)({"img_path": str(path), "img_id": 3})


@pytest.mark.parametrize(
    "name", ["gray.png", "rgb.png", "rgba.png", "rgb.jpg", "gray.tif", "a.bmp"]
)
def test_8_bits_are_what_mmdets_loader_gives(tmp_path: Path, name: str) -> None:
    generator = np.random.default_rng(0)
    channels = {"gray": (), "rgba": (4,)}.get(name.split(".")[0], (3,))
    pixels = generator.integers(0, 256, (20, 30, *channels), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / name), pixels)
    results = load(tmp_path / name)
    expected = LoadImageFromFile()({"img_path": str(tmp_path / name)})
    np.testing.assert_array_equal(results["img"], expected["img"])
    assert results["img"].flags.c_contiguous and results["img"].flags.writeable
    for key in ("img_shape", "ori_shape"):
        assert results[key] == expected[key]
    assert results["img_id"] == 3 and "image" not in results


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_square_picture_with_orientation_3_is_turned(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, ramp, metadata=None, extratags=[(274, "H", 1, 3, True)])
    else:
        exif = PillowImage.Exif()
        exif[274] = 3
        PillowImage.fromarray(ramp).save(path, exif=exif)
    difference = load(path)["img"][..., 0].astype(int) - ramp[::-1, ::-1]
    assert np.abs(difference).max() <= (3 if suffix == ".jpg" else 0)


def test_16_bits_look_like_8_bits(tmp_path: Path) -> None:
    spots = cv2.GaussianBlur((np.random.default_rng(0).random((120, 130)) > 0.99) * 9.0, (0, 0), 3)
    eight = (spots / spots.max() * 200).astype(np.uint8)
    intensity = dict(type="Percentiles")
    tifffile.imwrite(tmp_path / "8.tif", eight)
    tifffile.imwrite(tmp_path / "16.tif", eight.astype(np.uint16) * 257)
    one, other = (
        load(tmp_path / name, intensity=intensity)["img"].astype(int)
        for name in ("8.tif", "16.tif")
    )
    assert np.abs(one - other).max() <= 1


def test_planes_and_channels_are_selected_in_the_config(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 30), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(ImageError, match=r"a\.tif: holds 2 z, 3 channels"):
        load(path)
    one = load(path, selection=dict(channel=[1], z=1))["img"]
    np.testing.assert_array_equal(one, np.dstack([stack[1, 1]] * 3))
    three = load(path, selection=dict(channel=[0, 1, 2], z="max"))["img"]
    np.testing.assert_array_equal(three, stack.max(axis=0)[::-1].transpose(1, 2, 0))
    two = load(path, selection=dict(channel=[0, 2], z=0), num_channels=2)["img"]
    np.testing.assert_array_equal(two, stack[0, [0, 2]].transpose(1, 2, 0))
    with pytest.raises(ImageError, match=r"has 2 channels \(0, 2\), the network takes 3"):
        load(path, selection=dict(channel=[0, 2], z=0))


def test_an_image_that_is_read_already_is_taken(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    results = LoadCellImage()({"image": read_image(pixels)})
    np.testing.assert_array_equal(results["img"], pixels[..., ::-1])


def test_images_come_from_mmengines_file_clients(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    found = load(tmp_path / "a.png", backend_args=dict(backend="local"))["img"]
    np.testing.assert_array_equal(found[..., 2], pixels)


def test_an_empty_field_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).normal(400, 9, (100, 100)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "empty.tif", noise)
    told: list[str] = []
    monkeypatch.setattr(loading, "print_log", lambda text, **options: told.append(text))
    load(tmp_path / "empty.tif")
    assert len(told) == 1 and "empty.tif holds little more than noise" in told[0]


def test_faults_in_a_config() -> None:
    with pytest.raises(ConfigError, match="AsStored, FixedRange, Percentiles"):
        LoadCellImage(intensity=dict(type="Clahe"))
    with pytest.raises(ConfigError, match=r"selection: .*depth"):
        LoadCellImage(selection=dict(depth=3))
    assert "intensity=AsStored(" in repr(LoadCellImage())


def test_images_are_kept_in_memory_while_they_fit(tmp_path: Path) -> None:
    for value, name in enumerate("abc"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((10, 20), value, dtype=np.uint8))
    kept_bytes = 2 * 10 * 20 * 3
    load_kept = LoadCellImage(cache_mb=kept_bytes / 1e6)
    for name in "abc":
        load_kept({"img_path": str(tmp_path / f"{name}.png")})["img"][:] = 99  # as transforms may
        (tmp_path / f"{name}.png").unlink()
    for value, name in enumerate("ab"):
        results = load_kept({"img_path": str(tmp_path / f"{name}.png")})
        assert results["img_shape"] == results["ori_shape"] == (10, 20)
        assert (results["img"] == value).all()
    with pytest.raises(ImageError, match=r"c\.png"):
        load_kept({"img_path": str(tmp_path / "c.png")})


@pytest.mark.parametrize("cache_mb", [-1, float("nan")])
def test_a_cache_has_a_size(cache_mb: float) -> None:
    with pytest.raises(ConfigError, match="cache_mb must be at least 0"):
        LoadCellImage(cache_mb=cache_mb)
