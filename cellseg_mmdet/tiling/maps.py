"""`WholeMaps`: the feature maps of a whole picture, in memory or in a file, filled tile by tile."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tiling.cover import Rect


class WholeMaps:
    """One map (1, C, rows, columns) a level, with a point every ``stride`` pixels of the picture.

    What is more than ``memory_bytes`` lies in a temporary file (in ``TMPDIR``), of which no more is in memory than
    was touched since `release`. It is a context manager: at its end the file is gone, and the maps with it.

    Args:
        channels: of each level.
        strides: of each level, in pixels of the picture.
        size_hw: height and width of the picture in pixels, padding included.
        memory_bytes: that the maps may take in memory.
        device: where the network computes; maps of an accelerator stay in its memory.
        dtype: of the network.

    Raises:
        UsageError: there is no room, neither in memory nor on the disk.

    Example:
        >>> with WholeMaps([2], [4], (8, 10), memory_bytes=1 << 20) as maps:
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
        *,
        memory_bytes: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.strides = tuple(strides)
        self.size_hw = size_hw
        shapes = _shapes(channels, strides, size_hw)
        self.bytes = map_bytes(channels, strides, size_hw, dtype)
        self._files: list[np.memmap] = []
        device = torch.device(device)
        if device.type != "cpu":
            self.levels = tuple(_on_device(shape, device, dtype, self.bytes) for shape in shapes)
        elif self.bytes <= memory_bytes:
            self.levels = tuple(torch.zeros(shape, dtype=dtype) for shape in shapes)
        else:
            self._files = _in_file(shapes, dtype, self.bytes)
            self.levels = tuple(torch.from_numpy(level) for level in self._files)

    @property
    def in_file(self) -> bool:
        """Whether the maps lie in a file."""
        return bool(self._files)

    def __enter__(self) -> WholeMaps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the maps, and the file that they lie in."""
        self.levels = ()
        self._files = []

    def write(self, core: Rect, outputs: Sequence[Tensor]) -> None:
        """Write what a tile owns, (1, C, rows, columns) for each level."""
        for level, stride, values in zip(self.levels, self.strides, outputs, strict=True):
            own = core.divided(stride)
            level[:, :, own.rows, own.columns] = values
        self.release()

    def read(self, rect: Rect) -> list[Tensor]:
        """Return a window of each level: copies (1, C, rows, columns)."""
        windows = []
        for level, stride in zip(self.levels, self.strides, strict=True):
            part = rect.divided(stride)
            windows.append(level[:, :, part.rows, part.columns].clone())
        self.release()
        return windows

    def release(self) -> None:
        """Take what lies in a file out of memory; it is read again when it is needed."""
        for level in self._files:
            if hasattr(mmap, "MADV_DONTNEED"):
                level._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


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
    return sum(dtype.itemsize * int(np.prod(shape)) for shape in shapes)


def _shapes(
    channels: Sequence[int], strides: Sequence[int], size_hw: tuple[int, int]
) -> list[tuple[int, ...]]:
    levels = [Rect(0, 0, *size_hw).divided(stride) for stride in strides]
    return [(1, count, each.y1, each.x1) for count, each in zip(channels, levels, strict=True)]


def _on_device(
    shape: tuple[int, ...], device: torch.device, dtype: torch.dtype, total: int
) -> Tensor:
    try:
        return torch.zeros(shape, dtype=dtype, device=device)
    except torch.OutOfMemoryError:
        raise UsageError(
            f"the feature maps of the whole picture take {_size(total)}, and {device} has not so much free: "
            "give --device cpu"
        ) from None


def _in_file(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, total: int) -> list[np.memmap]:
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UsageError(
            f"the feature maps of the whole picture take {_size(total)}, and {folder} has {_size(free)} free: "
            "set TMPDIR to a folder on a larger disk, or give more --memory"
        )
    levels = []
    with tempfile.TemporaryFile() as file:  # it is gone with the last map of it
        begin = 0
        for shape in shapes:
            levels.append(np.memmap(file, kind, "w+", begin, shape))
            begin = -(-(begin + kind.itemsize * int(np.prod(shape))) // mmap.ALLOCATIONGRANULARITY)
            begin *= mmap.ALLOCATIONGRANULARITY
    return levels


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
