"""Maps at the size of the picture, read by window: what `PixelDetector.resized` gives of the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cellseg_mmdet.pixel_codes import IDENTITY, PixelCode, Turn


class SizedMaps:
    """Maps that are resized where they are read, on the grid of the whole picture.

    The grid is that of torch's ``interpolate(mode='bilinear')``, in single precision as there, and lengths are in the
    new pixels.

    Args:
        maps: (maps, h, w) float32: the code's, then those of classes.
        size_hw: height and width of the picture.
        code: says which maps are lengths.
        turn: what the maps are turned by first.
        let_go: called behind each reading, when what was read is copied: maps in a file can leave the memory.

    Example:
        >>> from cellseg_mmdet.pixel_codes import build_pixel_code
        >>> code = build_pixel_code(dict(type="RimCode", rim_px=0))
        >>> maps = np.array([[[0.0, 4.0]]], np.float32)
        >>> SizedMaps(maps, (1, 4), code).read(0, 1, 1, 4).tolist()
        [[[1.0, 3.0, 4.0]]]
    """

    def __init__(
        self,
        maps: np.ndarray,
        size_hw: tuple[int, int],
        code: PixelCode,
        turn: Turn = IDENTITY,
        let_go: Callable[[], None] | None = None,
    ) -> None:
        self._let_go = let_go
        maps = turn(maps)
        self._maps, self.size_hw = maps, size_hw
        self._index, self._sign = np.arange(len(maps)), np.ones(len(maps), np.float32)
        self._index[: code.channels], self._sign[: code.channels] = code.turned_channels(turn)
        old_hw = maps.shape[1:]
        self._is_same = tuple(old_hw) == tuple(size_hw)
        if self._is_same:
            return
        self._sides = [_weights(old, new) for old, new in zip(old_hw, size_hw, strict=True)]
        scale_yx = (size_hw[0] / old_hw[0], size_hw[1] / old_hw[1])
        factors = np.ones(len(maps), np.float32)
        factors[: code.channels] = code.resized_channels(scale_yx)
        self._factors = None if (factors == 1).all() else factors

    def read(self, y0: int, x0: int, y1: int, x1: int, maps: int | None = None) -> np.ndarray:
        """Return rows y0 to y1 and columns x0 to x1 of the first ``maps`` maps, of all by default, (maps, h, w)."""
        if self._is_same:
            return self._stored(y0, x0, y1, x1, maps)
        (top, bottom, down), (left, right, along) = (
            tuple(part[begin:end] for part in side)
            for side, begin, end in zip(self._sides, (y0, x0), (y1, x1), strict=True)
        )
        first_y, first_x = top[0], left[0]
        block = self._stored(first_y, first_x, bottom[-1] + 1, right[-1] + 1, maps)
        rows = block[:, :, left - first_x] * (1 - along) + block[:, :, right - first_x] * along
        down = down[:, None]
        found = rows[:, top - first_y] * (1 - down) + rows[:, bottom - first_y] * down
        if self._factors is not None:
            found *= self._factors[:maps, None, None]
        return found

    def _stored(self, y0: int, x0: int, y1: int, x1: int, maps: int | None) -> np.ndarray:
        block = self._maps[self._index[:maps], y0:y1, x0:x1]  # a copy, as the index is an array
        if self._let_go is not None:
            self._let_go()
        return block * self._sign[:maps, None, None] if (self._sign < 0).any() else block


def _weights(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new pixel the two old ones that it lies between, and the part of the second, float32."""
    one, half = np.float32(1), np.float32(0.5)
    scale = np.float32(old) / np.float32(new)
    at = np.maximum(scale * (np.arange(new, dtype=np.float32) + half) - half, np.float32(0))
    before = np.minimum(at.astype(np.int64), old - 1)
    behind = np.minimum(before + 1, old - 1)
    return before, behind, np.clip(at - before.astype(np.float32), np.float32(0), one)
