"""How an image of nuclei was taken, told from its pixels."""

from __future__ import annotations

import numpy as np

FLUORESCENCE, BRIGHTFIELD, STAINED = "fluorescence", "brightfield", "stained"

# Shares of the full range. Of 60 images of DSB2018 the median is at most 0.07 in fluorescence and at least 0.68 in the
# others; the mean color is 0 in gray images and at least 0.09 in stained ones.
_DARK_MEDIAN = 0.4
_GRAY_COLOR = 0.03


def modality_of(image: np.ndarray) -> str:
    """Tell fluorescence (bright nuclei on black) from bright field, gray or stained (dark nuclei on white or violet).

    Args:
        image: gray (H, W), or (H, W, 3 or more) with the colors in the first three channels, uint8 or uint16.
    """
    levels = image.reshape(*image.shape[:2], -1)[..., :3].astype(np.float32)
    levels /= np.iinfo(image.dtype).max
    if np.median(levels.mean(axis=2)) < _DARK_MEDIAN:
        return FLUORESCENCE
    color = (levels.max(axis=2) - levels.min(axis=2)).mean()
    return STAINED if color > _GRAY_COLOR else BRIGHTFIELD
