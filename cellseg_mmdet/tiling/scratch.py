"""`Scratch`: large arrays, in memory while they are small, and in a file without a name when they are not."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
from types import TracebackType

import numpy as np

from cellseg_mmdet.errors import UsageError


class Scratch:
    """Gives arrays, and keeps those in files that would not fit a limit together.

    The files are gone when the arrays are, also after a kill: they have no name. Use it in a ``with`` statement.

    Args:
        limit_bytes: what arrays may take of the memory.
        folder: where files are made; the system's folder for temporary files by default.

    Example:
        >>> with Scratch(limit_bytes=100) as scratch:
        ...     small, large = scratch.array((5, 5), np.uint8), scratch.array((40, 40), np.float32)
        ...     large[3] = 7.0
        ...     scratch.let_go(large)
        ...     float(large[3, 5]), scratch.file_bytes
        (7.0, 6400)
    """

    def __init__(self, limit_bytes: float, folder: str | None = None) -> None:
        self.limit_bytes, self.folder = limit_bytes, folder
        self.file_bytes = self._memory_bytes = 0
        self._maps: dict[int, mmap.mmap] = {}

    def array(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """Return an array of zeros.

        Raises:
            UsageError: it does not fit the disk.
        """
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if self._memory_bytes + num_bytes <= self.limit_bytes or not num_bytes:
            self._memory_bytes += num_bytes
            return np.zeros(shape, dtype)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            try:
                # A hole in the file that the disk has no room for would be a bus error when it is written.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, num_bytes)
                else:
                    file.truncate(num_bytes)
            except OSError as error:
                raise UsageError(
                    f"{num_bytes / 1e9:.1f} GB of maps do not fit {self.folder or tempfile.gettempdir()}: "
                    f"{error.strerror}; give more memory (--memory), or set TMPDIR to a larger disk"
                ) from error
            mapped = mmap.mmap(file.fileno(), num_bytes)
        self.file_bytes += num_bytes
        made = np.frombuffer(mapped, dtype).reshape(shape)
        self._maps[made.__array_interface__["data"][0]] = mapped
        return made

    def room_bytes(self) -> float:
        """Return what arrays may still take together, in memory or in files."""
        disk = shutil.disk_usage(self.folder or tempfile.gettempdir()).free
        return max(0.0, self.limit_bytes - self._memory_bytes) + disk

    def let_go(self, array: np.ndarray) -> None:
        """Take what is in memory of an array that is in a file out of memory; it comes back when it is read."""
        mapped = self._maps.get(array.__array_interface__["data"][0])
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def free(self, array: np.ndarray) -> None:
        """Forget an array: its memory or its file goes when the last name of it does."""
        if self._maps.pop(array.__array_interface__["data"][0], None) is None:
            self._memory_bytes -= array.nbytes
        else:
            self.file_bytes -= array.nbytes

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._maps.clear()
