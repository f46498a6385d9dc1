"""Arrays in memory, and ``.npy`` files of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.orientation import Window
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene
from cellseg_mmdet.npy import npy_fault, read_npy


def array_axes(shape: tuple[int, ...]) -> str:
    """Return the axes of an array by its shape alone.

    (H, W) and (H, W, 1) are gray, (H, W, 3) is RGB; any other (H, W, C) has C channels, of which some have to be
    selected.

    Raises:
        ImageError: it has another number of axes.
    """
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3:
        return "YXS" if shape[2] == 3 else "YXC"
    raise ImageError(
        f"an array of shape {shape} is no picture: give (H, W), (H, W, 3) in the order RGB or (H, W, C), "
        "or name its axes, as in axes='ZYX'"
    )


class ArrayScene(Scene):
    """An array (or a memory map) with named axes.

    Args:
        array: of numbers.
        axes: a letter for each axis; by default those of `array_axes`.
    """

    codec = "array"

    def __init__(self, array: np.ndarray, axes: str | None = None) -> None:
        axes = array_axes(array.shape) if axes is None else axes.upper()
        if len(axes) != array.ndim or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
            raise ImageError(f"axes {axes!r} do not fit an array of shape {array.shape}")
        if array.dtype.kind not in "buif":
            raise ImageError(f"an array of {array.dtype} is no picture: give numbers")
        if "S" in axes and array.shape[axes.index("S")] != 3:
            raise ImageError(
                f"axis S of {array.shape} must have three samples, RGB; leave alpha out, and call channels C"
            )
        self._array = array
        self.axes = axes
        self.shape = tuple(array.shape)
        self.dtype = np.dtype(np.uint8) if array.dtype == bool else array.dtype.newbyteorder("=")
        self.levels = ((self.sizes["Y"], self.sizes["X"]),)

    def read(self, at: Mapping[str, int], window: Window, level: int = 0) -> np.ndarray:
        """Cut the window out of the array."""
        y0, x0, height, width = window
        places: dict[str, Any] = {"Y": slice(y0, y0 + height), "X": slice(x0, x0 + width), **at}
        cut = self._array[tuple(places.get(axis, slice(None)) for axis in self.axes)]
        left = [axis for axis in self.axes if axis in "YXS"]
        pixels = np.asarray(cut).transpose([left.index(axis) for axis in "YXS" if axis in left])
        return as_stored(pixels.reshape(height, width, -1))


@FORMATS.register("npy")
class NpyFile(ImageFile):
    """A ``.npy`` file; pickled objects are refused."""

    suffixes = (".npy",)

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return head.startswith(b"\x93NUMPY")

    def __init__(self, content: BinaryIO | str | os.PathLike[str], name: str) -> None:
        assert not isinstance(content, str | os.PathLike)
        content.seek(0, os.SEEK_END)
        num_bytes = content.tell()
        content.seek(0)
        path = getattr(content, "name", None)
        if isinstance(path, str):
            fault = npy_fault(content, num_bytes)
            if fault:
                raise ImageError(fault)
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            array = read_npy(content, num_bytes)
        scene = ArrayScene(array)
        scene.codec = "npy"
        self.scenes = (scene,)


def as_stored(pixels: np.ndarray) -> np.ndarray:
    """Return pixels in this machine's byte order; black and white as 0 and 255."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
