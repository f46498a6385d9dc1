"""An image as it is, and with more contrast: cells of phase contrast are faint on their background."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

# As in the Sartorius notebook on MMDetection: clips histograms of 8 x 8 tiles at 3 times their mean.
CLAHE_CLIP_LIMIT, CLAHE_TILES = 3.0, (8, 8)


def clahe(image: np.ndarray) -> np.ndarray:
    """Equalise the histogram tile by tile, with a limit on the gain of contrast, so that noise stays low.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8; of colours the lightness alone changes.

    Returns:
        uint8, of the same shape. K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems
        IV, 1994.
    """
    return _on_lightness(
        image, cv2.createCLAHE(clipLimit=CLAHE_CLIP_LIMIT, tileGridSize=CLAHE_TILES).apply
    )


def equalise(image: np.ndarray) -> np.ndarray:
    """Equalise the histogram of the whole image; shapes and types as in `clahe`."""
    return _on_lightness(image, cv2.equalizeHist)


def _on_lightness(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if image.ndim == 2:
        return change(image)
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    if (
        image == image[:, :, :1]
    ).all():  # gray in three channels: no rounding on the way to Lab and back
        return cv2.cvtColor(change(np.ascontiguousarray(image[:, :, 0])), cv2.COLOR_GRAY2BGR)
    lab[:, :, 0] = change(np.ascontiguousarray(lab[:, :, 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "image": lambda image: image,
    "clahe": clahe,
    "equalised": equalise,
}
