from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.converters.modality import BRIGHTFIELD, FLUORESCENCE, STAINED, modality_of
from cellseg_mmdet.images import read_image


def picture(background: tuple[int, ...], nucleus: tuple[int, ...], dtype=np.uint8) -> np.ndarray:
    """Return 20 x 20 pixels, a quarter of them nucleus."""
    image = np.full((20, 20, len(background)), background, dtype)
    image[:10, :10] = nucleus
    return image


@pytest.mark.parametrize(
    ("image", "modality"),
    [
        (picture((9, 9, 9), (40, 40, 40)), FLUORESCENCE),
        (picture((5, 5, 5), (255, 0, 0)), FLUORESCENCE),  # a colored channel of the camera
        (picture((230, 230, 230), (60, 60, 60)), BRIGHTFIELD),
        (picture((210, 212, 211), (60, 62, 61)), BRIGHTFIELD),  # white balance off by a little
        (picture((230, 220, 225), (180, 60, 100)), STAINED),
        (picture((200, 150, 170), (160, 60, 90)), STAINED),
    ],
)
def test_modality_in_any_layout(image: np.ndarray, modality: str) -> None:
    for factor in (1, 16, 257):
        assert modality_of(read_image(image.astype(np.uint16) * factor)) == modality
    assert modality_of(read_image(image)) == modality
    if modality != STAINED and np.ptp(image.astype(int), axis=2).max() == 0:
        assert modality_of(read_image(image[..., 0])) == modality
