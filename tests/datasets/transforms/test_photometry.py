from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.datasets.transforms import RandomPhotometry
from cellseg_mmdet.errors import ConfigError


def applied(image: np.ndarray, seed: int = 0, **ranges: Any) -> np.ndarray:
    np.random.seed(seed)
    return RandomPhotometry(**ranges)({"img": image.copy()})["img"]


@pytest.fixture
def every_level() -> np.ndarray:
    """Return an image (16, 16, 3) with each gray level once, equal in the channels; its mean is 127.5."""
    return np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)


def test_by_default_nothing_changes(every_level: np.ndarray) -> None:
    assert np.array_equal(applied(every_level), every_level)


def test_brightness_adds(every_level: np.ndarray) -> None:
    expected = (every_level.astype(int) - 30).clip(0, 255)
    assert np.array_equal(applied(every_level, brightness=(-30, -30)), expected)


def test_contrast_keeps_the_mean(every_level: np.ndarray) -> None:
    expected = np.rint((every_level - 127.5) * 1.5 + 127.5).clip(0, 255)
    assert np.array_equal(applied(every_level, contrast=(1.5, 1.5)), expected)
    assert np.array_equal(applied(every_level // 64, contrast=(0, 0)), np.full((16, 16, 3), 2))


def test_gamma_bends(every_level: np.ndarray) -> None:
    expected = np.rint(255 * (every_level / 255) ** 2)
    assert np.array_equal(applied(every_level, gamma=(2, 2)), expected)


def test_illumination_rises_from_corner_to_corner() -> None:
    flat = np.full((41, 61), 100, np.uint8)
    out = applied(flat, gradient=(0.3, 0.3), seed=4).astype(int)
    corners = sorted([out[0, 0], out[0, -1], out[-1, 0], out[-1, -1]])
    assert corners[0] == 70 and corners[-1] == 130
    assert out[20, 30] == 100
    assert (out + out[::-1, ::-1] == 200).all()  # linear, and 100 on average
    assert applied(flat * 2, gradient=(1, 1)).max() == 255  # saturates


def test_blur_has_the_width_asked_for() -> None:
    line = np.zeros((41, 41, 3), np.uint8)
    line[:, 20] = 255
    row = applied(line, blur_px=(2.5, 2.5))[20, :, 0].astype(float)
    spread = np.sqrt(np.average((np.arange(41) - 20) ** 2, weights=row))
    assert spread == pytest.approx(2.5, rel=0.05)


def test_noise_has_the_deviation_asked_for_and_is_the_same_in_all_channels() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    out = applied(flat, noise=(6, 6))
    assert out[..., 0].std() == pytest.approx(6, rel=0.03)
    assert out.mean() == pytest.approx(128, abs=0.1)
    assert (out == out[..., :1]).all()


EVERYTHING = dict(
    brightness=(-20, 20), contrast=(0.7, 1.3), gamma=(0.7, 1.4), gradient=(0, 0.3), blur_px=(0, 1.5), noise=(0, 8)
)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_gray_stays_gray(every_level: np.ndarray, seed: int) -> None:
    color = applied(every_level, seed, **EVERYTHING)
    gray = applied(every_level[..., 0], seed, **EVERYTHING)
    assert color.dtype == np.uint8 and color.shape == every_level.shape
    assert (color == gray[..., None]).all()


def test_a_seed_decides(every_level: np.ndarray) -> None:
    first, again, other = (applied(every_level, seed, **EVERYTHING) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_image_given_is_left_alone(every_level: np.ndarray) -> None:
    results = {"img": every_level}
    RandomPhotometry(**EVERYTHING)(results)
    assert np.array_equal(every_level[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize(
    "ranges",
    [
        dict(brightness=(5, -5)),
        dict(contrast=(-1, 1)),
        dict(gamma=(0, 1)),
        dict(gradient=(0, 1.5)),
        dict(blur_px=(-1, 0)),
        dict(noise=(3,)),
    ],
)
def test_ranges_are_checked(ranges: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(ranges))} must be"):
        RandomPhotometry(**ranges)


def test_other_pixel_types_are_refused() -> None:
    with pytest.raises(TypeError, match="uint8; got float32"):
        applied(np.zeros((4, 4, 3), np.float32))
