"""The eight views of a picture: flips and quarter turns, which move pixels and lose none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Turn(NamedTuple):
    """One of the eight flips and quarter turns of an array (..., H, W): rows and columns are exchanged, then reversed.

    Attributes:
        transposes: whether rows and columns are exchanged, first.
        flips_y: whether the rows that are there then are reversed.
        flips_x: whether the columns are.

    Example:
        >>> quarter = Turn(transposes=True, flips_y=True, flips_x=False)
        >>> quarter(np.array([[1, 2], [3, 4]]))  # np.rot90
        array([[2, 4],
               [1, 3]])
        >>> quarter.inverse(quarter(np.array([[1, 2], [3, 4]])))
        array([[1, 2],
               [3, 4]])
    """

    transposes: bool
    flips_y: bool
    flips_x: bool

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the turned array, a view of (..., H, W)."""
        if self.transposes:
            pixels = np.swapaxes(pixels, -1, -2)
        return pixels[..., :: -1 if self.flips_y else 1, :: -1 if self.flips_x else 1]

    @property
    def inverse(self) -> Turn:
        """The turn that undoes this one."""
        if self.transposes:
            return Turn(True, self.flips_x, self.flips_y)
        return self

    @property
    def matrix(self) -> np.ndarray:
        """What it does to vectors: (2, 2) int, (y, x) after the turn from (y, x) before it."""
        matrix = np.eye(2, dtype=np.int64)[::-1] if self.transposes else np.eye(2, dtype=np.int64)
        signs = np.array([-1 if self.flips_y else 1, -1 if self.flips_x else 1])
        return signs[:, None] * matrix


IDENTITY = Turn(False, False, False)
# All eight, the picture as it is first.
TURNS = tuple(Turn(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True))
