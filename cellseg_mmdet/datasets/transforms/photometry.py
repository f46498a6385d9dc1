"""Brightness, contrast, gamma, illumination, blur and noise of a microscope."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.datasets.transforms.base import CellTransform, checked_range

Range = tuple[float, float]


class _Draw(NamedTuple):
    brightness: float
    contrast: float
    gamma: float
    gradient: float
    direction_rad: float
    blur_px: float
    noise: float
    noise_seed: int


@TRANSFORMS.register_module()
class RandomPhotometry(CellTransform):
    """Change how an 8-bit image was taken, all channels alike: a gray image stays gray.

    Each effect is drawn uniformly from its range, (low, high); by default none changes anything. They are applied in
    the order of the arguments, as light passes through a microscope: tone, illumination, optics, sensor.

    Required keys: img (uint8).
    Modified keys: img.

    Args:
        brightness: gray levels to add.
        contrast: factor on the distance from the image's mean.
        gamma: exponent on values scaled to 0..1, before contrast and brightness; above 1 is darker.
        gradient: illumination that rises linearly in a random direction, from a factor of 1 - g in one corner to
            1 + g in the opposite one; in 0..1.
        blur_px: standard deviation of a Gaussian blur in pixels.
        noise: standard deviation of Gaussian noise in gray levels.

    Raises:
        ValueError: a range is not in order or not possible.
    """

    def __init__(
        self,
        brightness: Range = (0.0, 0.0),
        contrast: Range = (1.0, 1.0),
        gamma: Range = (1.0, 1.0),
        gradient: Range = (0.0, 0.0),
        blur_px: Range = (0.0, 0.0),
        noise: Range = (0.0, 0.0),
    ) -> None:
        self.brightness = checked_range("brightness", brightness, -255, 255)
        self.contrast = checked_range("contrast", contrast, least=0)
        self.gamma = checked_range("gamma", gamma, least=np.nextafter(0, 1))
        self.gradient = checked_range("gradient", gradient, 0, 1)
        self.blur_px = checked_range("blur_px", blur_px, least=0)
        self.noise = checked_range("noise", noise, least=0)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change one image.

        Raises:
            TypeError: the image is not of 8 bits.
        """
        image = results["img"]
        if image.dtype != np.uint8:
            raise TypeError(f"RandomPhotometry takes images of uint8; got {image.dtype}")
        draw = self._draw()
        image = _change_tone(image, draw)
        if draw.gradient:
            change = draw.gradient * _ramp(image.shape[0], image.shape[1], draw.direction_rad)
            change = cv2.multiply(image.astype(np.float32), _for_channels(change, image))
            image = cv2.add(image, change, dtype=cv2.CV_8U)  # rounds and saturates
        if draw.blur_px:
            image = cv2.GaussianBlur(image, (0, 0), draw.blur_px)
        if draw.noise:
            # Several times as fast as the global generator, from which its seed comes.
            generator = np.random.default_rng(draw.noise_seed)
            noise = draw.noise * generator.standard_normal(image.shape[:2], dtype=np.float32)
            image = cv2.add(image, _for_channels(noise, image), dtype=cv2.CV_8U)
        results["img"] = image
        return results

    @cache_randomness
    def _draw(self) -> _Draw:
        uniform = np.random.uniform
        return _Draw(
            brightness=uniform(*self.brightness),
            contrast=uniform(*self.contrast),
            gamma=uniform(*self.gamma),
            gradient=uniform(*self.gradient),
            direction_rad=uniform(0, 2 * np.pi),
            blur_px=uniform(*self.blur_px),
            noise=uniform(*self.noise),
            noise_seed=np.random.randint(2**31),
        )


def _change_tone(image: np.ndarray, draw: _Draw) -> np.ndarray:
    levels = 255 * np.linspace(0, 1, 256) ** draw.gamma
    count = cv2.calcHist([image.reshape(-1, 1)], [0], None, [256], [0, 256]).ravel()
    mean = np.average(levels, weights=count)
    levels = (levels - mean) * draw.contrast + mean + draw.brightness
    return cv2.LUT(image, np.rint(levels).clip(0, 255).astype(np.uint8))


def _ramp(height: int, width: int, direction_rad: float) -> np.ndarray:
    """Return values (height, width) float32 that rise along a direction, from -1 to 1 between opposite corners."""
    across, down = np.cos(direction_rad), np.sin(direction_rad)
    x = np.linspace(-across, across, width, dtype=np.float32)
    y = np.linspace(-down, down, height, dtype=np.float32)
    return (x + y[:, None]) / np.float32(abs(across) + abs(down))


def _for_channels(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    return values if image.ndim == 2 else cv2.merge([values] * image.shape[2])
