"""`ImageSource`: one picture, opened, of which windows are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import numpy as np

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import RGB, Image
from cellseg_mmdet.images.orientation import (
    Window,
    oriented_size,
    stored_window,
    upright,
)
from cellseg_mmdet.images.scene import ImageFile, Scene
from cellseg_mmdet.images.selection import MAX, Plane
from cellseg_mmdet.structures.image_key import ImageKey


class ImageSource:
    """One picture, opened: its size and what its file says are known, pixels are read when they are asked for.

    Use it in a ``with`` statement, or `close` it.

    Attributes:
        key: where it is from, and its name.
        channels: names of the channels that `read` returns; ``RGB`` for colours.
        pixel_size_um: (height, width) of an upright pixel, or None.
        size_hw: height and width, upright.
        dtype: of the pixels.
        stack_sizes: axis letter -> length, of each axis of the file along which planes are selected.
        levels: height and width of the size that was selected (by default the full one), and of each smaller one that
            the file holds.

    Example:
        >>> from cellseg_mmdet import open_image
        >>> with open_image(np.arange(6, dtype=np.uint8).reshape(2, 3), name="a") as source:
        ...     source.size_hw, source.read().pixels[..., 0].tolist()
        ((2, 3), [[0, 1, 2], [3, 4, 5]])
    """

    def __init__(
        self,
        file: ImageFile | None,
        scene: Scene,
        plane: Plane,
        key: ImageKey,
        max_pixels: int,
        level: int = 0,
    ) -> None:
        self._file, self._scene, self._plane, self._max_pixels = file, scene, plane, max_pixels
        scene.check_level(level)
        self._level = level
        self.key = key
        orientation = scene.orientation
        full_hw, *_ = levels = tuple(oriented_size(size, orientation) for size in scene.levels)
        self.levels = levels[level:]
        self.size_hw = self.levels[0]
        if not all(self.size_hw):
            raise ImageError(f"has no pixels: {self.size_hw[0]} x {self.size_hw[1]}")
        self.dtype = scene.dtype
        size = scene.pixel_size_um
        is_turned = oriented_size((1, 2), orientation) != (1, 2)
        size = size[::-1] if size and is_turned else size
        if size and level:
            height, width = self.size_hw
            size = (size[0] * full_hw[0] / height, size[1] * full_hw[1] / width)
        self.pixel_size_um = size
        self.channels = _channels(scene, plane)
        self.stack_sizes = {axis: size for axis, size in scene.sizes.items() if axis not in "YXS"}

    def read(self, level: int = 0) -> Image:
        """Read the whole picture.

        Raises:
            ImageError: it has more pixels than allowed, or some cannot be decoded.
        """
        height, width = self.levels[level]
        pixels = self.read_window(0, 0, height, width, level)
        scale = (self.size_hw[0] / height, self.size_hw[1] / width)
        size = self.pixel_size_um
        return Image(
            pixels, self.key, self.channels, size and (size[0] * scale[0], size[1] * scale[1])
        )

    def part(self, y0: int, x0: int, height: int, width: int) -> Image:
        """Read a window as a picture of its own; arguments and errors are those of `read_window`."""
        pixels = self.read_window(y0, x0, height, width)
        return Image(pixels, self.key, self.channels, self.pixel_size_um)

    def read_window(self, y0: int, x0: int, height: int, width: int, level: int = 0) -> np.ndarray:
        """Read rows ``y0`` to ``y0 + height`` and columns ``x0`` to ``x0 + width`` as (height, width, C).

        Of a TIFF the strips or tiles in the window are read, of OME-Zarr its chunks; other formats are decoded once.

        Raises:
            ImageError: the window is not inside the picture, has more pixels than allowed, or cannot be decoded.
        """
        size_hw = self.levels[level]
        window = Window(y0, x0, height, width)
        with told_with_name(self.key, self._scene.codec):
            inside = 0 <= y0 < y0 + height <= size_hw[0] and 0 <= x0 < x0 + width <= size_hw[1]
            if not inside:
                raise ImageError(f"{tuple(window)} is no window of {size_hw[0]} x {size_hw[1]}")
            decoded_hw = size_hw if self._scene.is_whole else (height, width)
            if decoded_hw[0] * decoded_hw[1] > self._max_pixels:
                raise ImageError(
                    f"{decoded_hw[0]} x {decoded_hw[1]} are more pixels than the {self._max_pixels} allowed: "
                    "read it by windows, or raise the limit (max_pixels)"
                )
            orientation = self._scene.orientation
            stored = stored_window(window, size_hw, orientation)
            return np.ascontiguousarray(upright(self._stored(stored, level), orientation))

    def windows(self, max_pixels: int = 1 << 24, level: int = 0) -> Iterator[np.ndarray]:
        """Yield the picture in bands of rows of at most ``max_pixels`` each (one row at least), from top to bottom."""
        height, width = self.levels[level]
        rows = max(1, max_pixels // width)
        # Whole rows of tiles: a band that ends in the middle of one would decode it twice.
        rows = rows // 512 * 512 or rows
        for y0 in range(0, height, rows):
            yield self.read_window(y0, 0, min(rows, height - y0), width, level)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _stored(self, window: Window, level: int) -> np.ndarray:
        channels = [None] if self._plane.channels is None else list(self._plane.channels)
        parts = [self._projected(channel, window, level) for channel in channels]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _projected(self, channel: int | None, window: Window, level: int) -> np.ndarray:
        at = dict(self._plane.at)
        if channel is not None:
            at["C"] = channel
        maximal = [axis for axis, index in at.items() if index == MAX]
        fixed: dict[str, int] = {axis: index for axis, index in at.items() if index != MAX}
        level += self._level
        if not maximal:
            return self._scene.read(fixed, window, level)
        axis = maximal[0]
        largest: np.ndarray | None = None
        for index in range(self._scene.sizes[axis]):
            pixels = self._scene.read({**fixed, axis: index}, window, level)
            largest = pixels if largest is None else np.maximum(largest, pixels)
        assert largest is not None
        return largest


def _channels(scene: Scene, plane: Plane) -> tuple[str, ...]:
    if "S" in scene.axes:
        return RGB
    if plane.channels is None:
        return ("gray",)
    named = scene.channels
    return tuple(named[index] if named else str(index) for index in plane.channels)


@contextmanager
def told_with_name(key: ImageKey, codec: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` that names the picture, the cause and a remedy."""
    where = str(key)
    try:
        yield
    except ImageError as error:
        text = str(error)
        raise ImageError(text if text.startswith(where) else f"{where}: {text}") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise ImageError(f"{where}: {error.strerror}") from error
        raise _damaged(where, codec, error) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(where, codec, error) from error


def _damaged(where: str, codec: str, error: BaseException) -> ImageError:
    kind = f" ({codec})" if codec else ""
    text = " ".join(str(error).split()) or type(error).__name__
    return ImageError(
        f"{where}: cannot be read{kind}: {text}; copy the file anew, or open it where it was made and save it as TIFF"
    )
