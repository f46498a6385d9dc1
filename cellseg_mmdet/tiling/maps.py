"""`WholeMaps`: the feature maps of a whole picture, filled tile by tile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.scratch import Scratch


class WholeMaps:
    """One map (1, C, rows, columns) a level, with a point every ``stride`` pixels of the picture.

    Args:
        channels: of each level.
        strides: of each level, in pixels of the picture.
        size_hw: height and width of the picture in pixels, padding included.
        scratch: where the maps of a CPU lie; those of an accelerator stay in its memory.
        device: where the network computes.
        dtype: of the network.

    Raises:
        UsageError: there is no room for them.

    Example:
        >>> with Scratch(limit_bytes=1 << 20) as scratch:
        ...     maps = WholeMaps([2], [4], (8, 10), scratch)
        ...     maps.write(Rect(0, 4, 8, 8), [torch.ones(1, 2, 2, 1)])
        ...     maps.levels[0][0, 0]
        tensor([[0., 1., 0.],
                [0., 1., 0.]])
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        size_hw: tuple[int, int],
        scratch: Scratch,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.strides = tuple(strides)
        self.size_hw = size_hw
        shapes = _shapes(channels, strides, size_hw)
        self._scratch = scratch
        self._arrays: list[np.ndarray] = []
        in_files = scratch.file_bytes
        if torch.device(device).type == "cpu":
            kind = torch.empty(0, dtype=dtype).numpy().dtype
            self._arrays = [scratch.array(shape, kind) for shape in shapes]
            self.levels = tuple(torch.from_numpy(array) for array in self._arrays)
        else:
            total = map_bytes(channels, strides, size_hw, dtype)
            self.levels = tuple(_on_device(shape, device, dtype, total) for shape in shapes)
        self.in_file = scratch.file_bytes > in_files

    def write(self, core: Rect, outputs: Sequence[Tensor]) -> None:
        """Write what a tile owns, (1, C, rows, columns) for each level."""
        for level, stride, values in zip(self.levels, self.strides, outputs, strict=True):
            own = core.divided(stride)
            level[:, :, own.rows, own.columns] = values
        self.let_go()

    def read(self, rect: Rect) -> list[Tensor]:
        """Return a window of each level: copies (1, C, rows, columns)."""
        windows = []
        for level, stride in zip(self.levels, self.strides, strict=True):
            part = rect.divided(stride)
            windows.append(level[:, :, part.rows, part.columns].clone())
        self.let_go()
        return windows

    def let_go(self) -> None:
        """Take what lies in a file out of memory; it comes back when it is looked at."""
        for array in self._arrays:
            self._scratch.let_go(array)

    def free(self) -> None:
        """Give up the maps."""
        for array in self._arrays:
            self._scratch.free(array)
        self.levels, self._arrays = (), []


def map_bytes(
    channels: Sequence[int],
    strides: Sequence[int],
    size_hw: tuple[int, int],
    dtype: torch.dtype = torch.float32,
) -> int:
    """Return what the maps of a picture take, in bytes.

    Example:
        >>> map_bytes([2], [4], (8, 10))
        48
    """
    shapes = _shapes(channels, strides, size_hw)
    return sum(dtype.itemsize * math.prod(shape) for shape in shapes)


def _shapes(
    channels: Sequence[int], strides: Sequence[int], size_hw: tuple[int, int]
) -> list[tuple[int, ...]]:
    levels = [Rect(0, 0, *size_hw).divided(stride) for stride in strides]
    return [(1, count, each.y1, each.x1) for count, each in zip(channels, levels, strict=True)]


def _on_device(
    shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype, total: int
) -> Tensor:
    try:
        return torch.zeros(shape, dtype=dtype, device=device)
    except torch.OutOfMemoryError:
        raise UsageError(
            f"the feature maps of the whole picture take {total / 1e9:.1f} GB, and {device} has not so much free: "
            "give --device cpu"
        ) from None
