"""`open_image` and `read_image`: every picture of the project is read here."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import cellseg_mmdet.images.sources  # noqa: F401  # fills FORMATS
from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import Image
from cellseg_mmdet.images.image_source import ImageSource, told_with_name
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene
from cellseg_mmdet.images.selection import (
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
    with told_with_name(key, ""):
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
            yield ImageSource(
                file,
                scenes[index],
                plane,
                _with_name(of_plane, key),
                max_pixels,
                selected.level,
            )


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
    with told_with_name(key, ""):
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
    if not path.is_file():
        raise ImageError("is no file, but a device or a pipe")
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
