"""`Image`: a picture as it is stored, with what its file says about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from cellseg_mmdet.structures.image_key import ImageKey

RGB = ("red", "green", "blue")

# A larger "pixel" is that of a print or a screen (72, 96, 300 dpi are the defaults of programs), not of a microscope.
_LARGEST_PIXEL_UM = 50.0


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels of one picture, upright.

    Attributes:
        pixels: (H, W, C) of the stored type; colours in the order RGB, without alpha.
        key: where it comes from, and its name.
        channels: C names; ``RGB`` for a colour picture.
        pixel_size_um: (height, width) of a pixel in micrometres, None if the file does not say.

    Example:
        >>> from cellseg_mmdet import read_image
        >>> image = read_image(np.zeros((2, 3), np.uint16), name="a")
        >>> image.size_hw, image.pixels.shape, image.dtype, image.key.name
        ((2, 3), (2, 3, 1), dtype('uint16'), 'a')
    """

    pixels: np.ndarray
    key: ImageKey
    channels: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values."""
        return self.pixels.dtype

    def part(self, y0: int, x0: int, height: int, width: int) -> Image:
        """Return rows ``y0`` to ``y0 + height`` and columns ``x0`` to ``x0 + width`` as a picture of their own."""
        return replace(self, pixels=self.pixels[y0 : y0 + height, x0 : x0 + width])

    def windows(self) -> Iterator[np.ndarray]:
        """Yield the pixels; `ImageSource.windows` yields those of a file band by band."""
        yield self.pixels


def plausible_pixel_size(height_um: float, width_um: float) -> tuple[float, float] | None:
    """Return a pixel size if a microscope can have it, else None."""
    sizes = (float(height_um), float(width_um))
    return sizes if all(0 < size <= _LARGEST_PIXEL_UM for size in sizes) else None


_UM_PER_UNIT = {
    "um": 1.0,
    "\u00b5m": 1.0,
    "\u03bcm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "\u00e5": 1e-4,
    "angstrom": 1e-4,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "inch": 25400.0,
    "in": 25400.0,
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
}


def unit_um(unit: str | None) -> float | None:
    """Return how many micrometres a unit of length has, None for one that is not known (such as ``pixel``)."""
    text = (unit or "").strip().replace("\\u00B5", "\u00b5").lower()
    return _UM_PER_UNIT.get(text)
