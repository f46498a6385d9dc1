"""What a network sees of a picture, read by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cellseg_mmdet.pixel_codes import Turn


class NetworkPicture(Protocol):
    """What a network sees of a picture, by window."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def read(self, y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
        """Return rows y0 to y1 and columns x0 to x1, (h, w, C) uint8, as the model's pipeline packs it."""


@dataclass(frozen=True)
class ArrayPicture:
    """A picture that is in memory, or in a memory map: (H, W, C) uint8.

    Attributes:
        pixels: as the model's pipeline packs them.
    """

    pixels: np.ndarray

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
        """Return a window."""
        return self.pixels[y0:y1, x0:x1]


@dataclass(frozen=True)
class TurnedPicture:
    """A flip or quarter turn of a picture.

    Attributes:
        picture: as it is.
        turn: of it.

    Example:
        >>> pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
        >>> turned = TurnedPicture(ArrayPicture(pixels), Turn(True, True, False))
        >>> turned.size_hw, turned.read(0, 0, 2, 1)[..., 0].tolist()
        ((3, 2), [[2], [1]])
    """

    picture: NetworkPicture
    turn: Turn

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.picture.size_hw
        return (width, height) if self.turn.transposes else (height, width)

    def read(self, y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
        """Return a window."""
        height, width = self.size_hw
        if self.turn.flips_y:
            y0, y1 = height - y1, height - y0
        if self.turn.flips_x:
            x0, x1 = width - x1, width - x0
        if self.turn.transposes:
            y0, x0, y1, x1 = x0, y0, x1, y1
        pixels = self.picture.read(y0, x0, y1, x1)
        return np.moveaxis(self.turn(np.moveaxis(pixels, 2, 0)), 0, 2)
