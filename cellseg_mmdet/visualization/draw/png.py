"""PNG files that are written a few rows at a time. https://www.w3.org/TR/png-3/"""

from __future__ import annotations

import struct
import zlib
from typing import IO

import numpy as np

# As OpenCV packs: runs of equal bytes alone are looked for, in a fifth of the time of other ways.
_LEVEL, _STRATEGY = 1, zlib.Z_RLE
_SUB = 1


class PngStream:
    """A PNG of 8-bit colours, to which rows are added from top to bottom.

    Args:
        file: open for writing, in binary.
        height: of the picture in pixels.
        width: of the picture in pixels.

    Example:
        >>> with open("a.png", "wb") as file:
        ...     stream = PngStream(file, 2, 3)
        ...     for _ in range(2):
        ...         stream.add(np.full((1, 3, 3), 7, np.uint8))
        ...     stream.close()
        >>> import cv2
        >>> cv2.imread("a.png").shape
        (2, 3, 3)
    """

    def __init__(self, file: IO[bytes], height: int, width: int) -> None:
        self._file, self._width, self._left = file, width, height
        self._packer = zlib.compressobj(_LEVEL, strategy=_STRATEGY)
        file.write(b"\x89PNG\r\n\x1a\n")
        # 8 bits; red, green and blue; deflate, the five filters, not interlaced.
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

    def add(self, rows: np.ndarray) -> None:
        """Append rows (N, width, 3) uint8 BGR."""
        if rows.shape[1:] != (self._width, 3) or len(rows) > self._left:
            raise ValueError(
                f"rows of shape {rows.shape}; left are {self._left} of {self._width} x 3"
            )
        self._left -= len(rows)
        rgb = rows[..., ::-1]
        filtered = np.empty((len(rows), 1 + 3 * self._width), dtype=np.uint8)
        filtered[:, 0] = (
            _SUB  # each value is told by its difference to that of the pixel on the left
        )
        values = filtered[:, 1:].reshape(len(rows), self._width, 3)
        values[:, :1] = rgb[:, :1]
        np.subtract(rgb[:, 1:], rgb[:, :-1], out=values[:, 1:])
        filtered[:, 1:] = values.reshape(len(rows), -1)
        packed = self._packer.compress(filtered.data)
        if packed:
            self._chunk(b"IDAT", packed)

    def close(self) -> None:
        """End the picture; all of its rows must be there."""
        if self._left:
            raise ValueError(f"{self._left} rows are missing")
        self._chunk(b"IDAT", self._packer.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">I", len(content)) + kind + content)
        self._file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
