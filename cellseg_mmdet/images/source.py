"""`open_image` and `read_image`: every picture of the project is read here."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import cellseg_mmdet.images.sources  # noqa: F401  # fills FORMATS
from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import RGB, Image
from cellseg_mmdet.images.orientation import (
    Window,
    oriented_size,
    stored_window,
    upright,
)
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene
from cellseg_mmdet.images.selection import (
    MAX,
    Plane,
    PlaneSelection,
    planes_of,
    scene_index,
    with_scene,
)
from cellseg_mmdet.images.sources.array import ArrayScene
from cellseg_mmdet.structures.image_key import ImageKey

Source = str | os.PathLike[str] | ImageKey | bytes | np.ndarray

# Two gigapixels: what is read as a whole has to fit into memory, several times over.
MAX_PIXELS = 2_000_000_000
_HEAD_BYTES = 16


class ImageSource:
    """One picture, opened: its size and what its file says are known, pixels are read when they are asked for.

    Use it in a ``with`` statement, or `close` it.

    Attributes:
        key: where it is from, and its name.
        channels: names of the channels that `read` returns; ``RGB`` for colours.
        pixel_size_um: (height, width) of an upright pixel, or None.
        size_hw: height and width, upright.
        dtype: of the pixels.
        levels: height and width of the size that was selected (by default the full one), and of each smaller one that
            the file holds.

    Example:
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

    def read_window(self, y0: int, x0: int, height: int, width: int, level: int = 0) -> np.ndarray:
        """Read rows ``y0`` to ``y0 + height`` and columns ``x0`` to ``x0 + width`` as (height, width, C).

        Of a TIFF the strips or tiles in the window are read, of OME-Zarr its chunks; other formats are decoded once.

        Raises:
            ImageError: the window is not inside the picture, has more pixels than allowed, or cannot be decoded.
        """
        size_hw = self.levels[level]
        window = Window(y0, x0, height, width)
        with _told(self.key, self._scene.codec):
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


def open_images(
    source: Source,
    selection: PlaneSelection | None = None,
    *,
    name: str | None = None,
    axes: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[ImageSource]:
    """Open all pictures of a source that are meant; several only for ``planes='each'``.

    They share one open file: closing one closes all. Arguments and errors are those of `open_image`.

    Example:
        >>> stack = np.zeros((4, 2, 3), np.uint8)
        >>> sources = open_images(stack, PlaneSelection(planes="each"), name="stack", axes="ZYX")
        >>> [source.key.plane for source in sources]
        ['z0', 'z1', 'z2', 'z3']
    """
    key = _key_of(source, name)
    with _told(key, ""):
        file, scenes = _open(source, key, axes)
        try:
            return list(_sources(file, scenes, selection or PlaneSelection(), key, max_pixels))
        except BaseException:
            if file is not None:
                file.close()
            raise


def _sources(
    file: ImageFile | None,
    scenes: Sequence[Scene],
    selection: PlaneSelection,
    key: ImageKey,
    max_pixels: int,
) -> Iterator[ImageSource]:
    selected = with_scene(selection, key.scene)
    for index in scene_index(scenes, selected):
        for plane in planes_of(scenes[index], selected, key.indices):
            of_plane = replace(
                key, scene=index if len(scenes) > 1 else None, plane=plane.label or None
            )
            named = _with_name(of_plane, key)
            yield ImageSource(file, scenes[index], plane, named, max_pixels, selected.level)


def open_image(
    source: Source,
    selection: PlaneSelection | None = None,
    *,
    name: str | None = None,
    axes: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ImageSource:
    """Open one picture and read its header.

    Args:
        source: path of a file or OME-Zarr folder, an `ImageKey`, the bytes of a file, or an array: (H, W) and (H, W, 1)
            are gray, (H, W, 3) is RGB, any other (H, W, C) has C channels.
        selection: planes of a stack.
        name: of bytes or an array, in errors and results.
        axes: of an array, a letter for each: Y, X, S (RGB), C, Z, T.
        max_pixels: largest number of pixels that is read at once.

    Raises:
        ImageError: it is not there, of no known format, damaged, or holds several pictures of which none is selected.

    Example:
        >>> with open_image(np.zeros((40, 30), np.uint8)) as source:
        ...     source.size_hw, source.read_window(0, 0, 8, 8).shape
        ((40, 30), (8, 8, 1))
    """
    found = open_images(source, selection, name=name, axes=axes, max_pixels=max_pixels)
    if len(found) > 1:
        found[0].close()
        raise ImageError(
            f"{found[0].key.path}: {len(found)} planes are meant where one is asked for"
        )
    return found[0]


def read_image(source: Source, selection: PlaneSelection | None = None, **options: Any) -> Image:
    """Read one whole picture; arguments and errors are those of `open_image`.

    Example:
        >>> read_image(np.zeros((40, 30, 3), np.uint8)).channels
        ('red', 'green', 'blue')
    """
    with open_image(source, selection, **options) as opened:
        return opened.read()


def image_size_hw(source: Source, selection: PlaneSelection | None = None) -> tuple[int, int]:
    """Return (height, width) of the upright picture from the header alone; errors are those of `open_image`.

    Planes of one scene are of one size, so none has to be selected.

    Example:
        >>> image_size_hw(np.zeros((2, 3), np.uint8))
        (2, 3)
    """
    selection = selection or PlaneSelection()
    selection = replace(selection, planes=selection.planes or "each")
    key = _key_of(source, None)
    with _told(key, ""):
        file, scenes = _open(source, key, None)
        try:
            return next(_sources(file, scenes, selection, key, MAX_PIXELS)).size_hw
        finally:
            if file is not None:
                file.close()


def _key_of(source: Source, name: str | None) -> ImageKey:
    if isinstance(source, ImageKey):
        return source
    if isinstance(source, str | os.PathLike):
        return ImageKey(os.fspath(source))
    return ImageKey(name or ("array" if isinstance(source, np.ndarray) else "bytes"))


def _with_name(key: ImageKey, opened: ImageKey) -> ImageKey:
    if opened.name:
        return key
    parts = [Path(key.path).stem]
    if key.scene is not None:
        parts.append(f"s{key.scene}")
    if key.plane:
        parts.append(key.plane)
    return replace(key, name="_".join(parts))


def _open(
    source: Source, key: ImageKey, axes: str | None
) -> tuple[ImageFile | None, Sequence[Scene]]:
    if isinstance(source, np.ndarray):
        return None, [ArrayScene(source, axes)]
    if isinstance(source, bytes | bytearray | memoryview):
        return _open_content(io.BytesIO(source), key.path)
    path = Path(key.path)
    if path.is_dir():
        for kind in _formats():
            if kind.accepts(b"", key.path):
                folder = kind(path, path.name)
                return folder, folder.scenes
        raise ImageError("is a folder, and no OME-Zarr image")
    if not path.exists():
        raise ImageError("no such file")
    return _open_content(path.open("rb"), key.path)


def _open_content(content: Any, name: str) -> tuple[ImageFile, Sequence[Scene]]:
    try:
        head = content.read(_HEAD_BYTES)
        content.seek(0, os.SEEK_END)
        num_bytes = content.tell()
        content.seek(0)
        for kind in _formats():
            if head and kind.accepts(head, name):
                file = kind(content, Path(name).name)
                return _Closing(file, content), file.scenes
        names = ", ".join(FORMATS.names())
        what = "is empty" if not num_bytes else f"is of no format that is read ({num_bytes} bytes)"
        raise ImageError(f"{what}; save it as TIFF or PNG. Formats are {names}")
    except BaseException:
        content.close()
        raise


class _Closing(ImageFile):
    """A format's file together with what it reads from."""

    def __init__(self, file: ImageFile, content: Any) -> None:
        self._inner, self._content = file, content

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return False

    def close(self) -> None:
        self._inner.close()
        self._content.close()


def _formats() -> list[type[ImageFile]]:
    return [FORMATS.get(name) for name in FORMATS.names()]  # type: ignore[misc]


def _channels(scene: Scene, plane: Plane) -> tuple[str, ...]:
    if "S" in scene.axes:
        return RGB
    if plane.channels is None:
        return ("gray",)
    named = scene.channels
    return tuple(named[index] if named else str(index) for index in plane.channels)


@contextmanager
def _told(key: ImageKey, codec: str) -> Iterator[None]:
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
