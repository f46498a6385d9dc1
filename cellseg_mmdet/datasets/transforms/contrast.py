"""Normalisation of images: bright cells on a dark background, contrast stretched to 0..255."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.converters.modality import has_dark_background
from cellseg_mmdet.datasets.transforms.base import CellTransform, checked_range


@TRANSFORMS.register_module()
class StretchContrast(CellTransform):
    """Stretch an 8-bit image linearly, all channels alike, so that two of its percentiles become 0 and 255.

    Exposures of one kind of sample differ by a factor of ten and more, which no mean and deviation of a data set can
    even out. Nothing is drawn: it belongs in training and test alike, before anything that crops. An image without
    contrast stays as it is.

    Required keys: img (uint8).
    Modified keys: img.

    Args:
        percentiles: of the pixels' values, (low, high).

    Raises:
        ValueError: they are not in order, or not within 0 to 100.
    """

    def __init__(self, percentiles: tuple[float, float] = (1.0, 99.8)) -> None:
        self.percentiles = checked_range("percentiles", percentiles, 0, 100)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Stretch one image.

        Raises:
            TypeError: the image is not of 8 bits.
        """
        image = results["img"]
        if image.dtype != np.uint8:
            raise TypeError(f"StretchContrast takes images of uint8; got {image.dtype}")
        low, high = np.percentile(image, self.percentiles)
        if high > low:
            levels = (np.arange(256) - low) * (255 / (high - low))
            results["img"] = cv2.LUT(image, np.rint(levels).clip(0, 255).astype(np.uint8))
        return results


@TRANSFORMS.register_module()
class DarkBackground(CellTransform):
    """Make an 8-bit image gray, and invert it where its background is bright, so that cells are bright in every image.

    Background is what most pixels are of (see `has_dark_background`). Stained tissue then looks much like
    fluorescence, and what few images of the one teach serves the other. Nothing is drawn: it belongs in training and
    test alike, before anything that crops.

    Required keys: img ((H, W, 3) uint8, BGR).
    Modified keys: img (three equal channels).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Convert one image.

        Raises:
            TypeError: the image is not of 8 bits, or has no three channels.
        """
        image = results["img"]
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise TypeError(
                f"DarkBackground takes images (H, W, 3) of uint8; got {image.shape} of {image.dtype}"
            )
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if not has_dark_background(image):
            gray = 255 - gray
        results["img"] = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
        return results
