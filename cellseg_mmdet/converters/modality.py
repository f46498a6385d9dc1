"""How an image of nuclei was taken, told from its pixels."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.images import Image
from cellseg_mmdet.images.image import RGB
from cellseg_mmdet.images.intensity import gray_of, has_dark_background

FLUORESCENCE, BRIGHTFIELD, STAINED = "fluorescence", "brightfield", "stained"

# Of 664 images of DSB2018 the mean color, as a share of the largest gray values, is 0 in gray images and at least 0.05
# in stained ones.
_GRAY_COLOR = 0.03
_LARGEST_PERCENT = 99.9


def modality_of(image: Image) -> str:
    """Tell fluorescence (bright nuclei on black) from bright field and stains (dark nuclei on white or violet)."""
    if has_dark_background(image):
        return FLUORESCENCE
    if image.channels != RGB:
        return BRIGHTFIELD
    levels = image.pixels.astype(np.float32)
    largest = float(np.percentile(gray_of(image.pixels), _LARGEST_PERCENT))
    color = float((levels.max(axis=2) - levels.min(axis=2)).mean())
    return STAINED if color > _GRAY_COLOR * largest else BRIGHTFIELD
