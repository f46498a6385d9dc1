"""What each file format implements: a file of scenes, whose planes are read by window."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import BinaryIO, ClassVar

import numpy as np

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.orientation import Window
from cellseg_mmdet.registry import Registry


class Scene(ABC):
    """One picture or stack of a file, as it is stored.

    Attributes:
        name: in the file, or ''.
        axes: a letter for each axis: Y, X; S (samples of a colour, 3); C, Z, T; any other for an axis without meaning.
        shape: of the axes.
        dtype: of the pixels that `read` returns.
        channels: names along C; empty where the file has none.
        pixel_size_um: stored (height, width) of a pixel, or None.
        orientation: TIFF's and EXIF's tag, 1 to 8.
        levels: stored (height, width) of the full size and of each reduced one.
        codec: how errors call the format.
        is_whole: a window can be had by decoding the whole picture only.
    """

    name: str = ""
    axes: str = "YX"
    shape: tuple[int, ...] = ()
    dtype: np.dtype = np.dtype(np.uint8)
    channels: tuple[str, ...] = ()
    pixel_size_um: tuple[float, float] | None = None
    orientation: int = 1
    levels: tuple[tuple[int, int], ...] = ()
    codec: str = ""
    is_whole: bool = False

    @abstractmethod
    def read(self, at: Mapping[str, int], window: Window, level: int = 0) -> np.ndarray:
        """Return (height, width, samples), 3 samples for a colour and 1 else.

        Args:
            at: index on each axis but Y, X and S.
            window: inside the stored size of the level.
            level: of ``levels``.

        Raises:
            Exception: of any kind, if a pixel of the window cannot be decoded; it is never filled with something else.
        """

    def check_level(self, level: int) -> None:
        """Raise if there is no such level.

        Raises:
            ImageError: there is none; without the file's name.
        """
        if not 0 <= level < len(self.levels):
            sizes = [f"{number} ({h} x {w})" for number, (h, w) in enumerate(self.levels)]
            raise ImageError(f"has no level {level}; there are {', '.join(sizes)}")

    @property
    def sizes(self) -> dict[str, int]:
        """Axis letter -> length."""
        return dict(zip(self.axes, self.shape, strict=True))


class ImageFile(ABC):
    """An open file, bytes or folder.

    Attributes:
        scenes: what is in it, in the order of the file.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    scenes: Sequence[Scene] = ()

    @classmethod
    @abstractmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        """Tell by its first bytes whether a file is of this format; of a folder ``head`` is empty."""

    @abstractmethod
    def __init__(self, content: BinaryIO | str | os.PathLike[str], name: str) -> None:
        """Read the header.

        Args:
            content: open file, positioned at its begin, or for a folder its path.
            name: of the file, for its suffix only.
        """

    def close(self) -> None:  # noqa: B027  # most formats hold nothing but what they were given
        """Let go of what was opened besides the content given."""


FORMATS: Registry[ImageFile] = Registry("image format")
