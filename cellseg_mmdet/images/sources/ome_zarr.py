"""OME-Zarr 0.4 and 0.5: single images, collections of bioformats2raw, plates."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.fileio import is_bomb
from cellseg_mmdet.images.image import plausible_pixel_size, unit_um
from cellseg_mmdet.images.orientation import Window
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene
from cellseg_mmdet.images.sources.array import as_stored

# zarr takes 0.4 s to import, which no command should that reads none.
if TYPE_CHECKING:
    import zarr

# Of one window, and in one chunk: OME-Zarr is written in chunks of some thousand pixels to some hundred megabytes.
_MAX_CHUNKS, _MAX_CHUNK_BYTES, _SMALL_CHUNK_BYTES = 1 << 20, 1 << 30, 1 << 28
_MAX_LEVELS = 256
_HEADERS = (".zgroup", ".zattrs", "zarr.json")
_METADATA = (*_HEADERS, ".zarray", ".zmetadata")


class ZarrScene(Scene):
    """One multiscale image of a group; https://ngff.openmicroscopy.org/0.5/."""

    codec = "OME-Zarr"

    def __init__(self, group: zarr.Group, name: str, folder: Path) -> None:
        self._folder = folder
        attributes = _ome(group)
        multiscale = attributes["multiscales"][0]
        datasets = multiscale["datasets"]
        if len(datasets) > _MAX_LEVELS:
            raise ImageError(
                f"OME-Zarr with {len(datasets)} levels, more than the {_MAX_LEVELS} allowed"
            )
        self._arrays = [_array(group, dataset["path"]) for dataset in datasets]
        full = self._arrays[0]
        self.axes = _axes(multiscale, full.ndim)
        self.shape = tuple(full.shape)
        self.dtype = np.dtype(np.uint8) if full.dtype == bool else full.dtype.newbyteorder("=")
        if full.dtype.kind not in "buif":
            raise ImageError(f"OME-Zarr, {full.dtype}: values of this type are no gray values")
        y, x = self.axes.index("Y"), self.axes.index("X")
        self.levels = tuple((array.shape[y], array.shape[x]) for array in self._arrays)
        self.name = name or multiscale.get("name", "")
        channels = attributes.get("omero", {}).get("channels", [])
        names = tuple(str(channel.get("label", "")) for channel in channels)
        if len(names) == self.sizes.get("C", 0) and all(names) and len(set(names)) == len(names):
            self.channels = names
        self.pixel_size_um = _pixel_size(multiscale, datasets[0], y, x)

    def read(self, at: Mapping[str, int], window: Window, level: int = 0) -> np.ndarray:
        """Read the chunks that the window touches.

        A chunk that is not there holds the fill value: writers leave it out. An array without any was not copied along.
        """
        array = self._arrays[level]
        about = f"OME-Zarr, {array.dtype}, {array.shape}"
        if not self._has_chunks(array):
            raise ImageError(f"{about}: none of its chunks is there; copy the whole folder")
        y0, x0, height, width = window
        places: dict[str, Any] = {"Y": slice(y0, y0 + height), "X": slice(x0, x0 + width), **at}
        index = tuple(places[axis] for axis in self.axes)
        self._check_chunks(array, index, about)
        pixels = np.asarray(array[index])
        if self.axes.index("X") < self.axes.index("Y"):
            pixels = pixels.T
        return as_stored(pixels.reshape(height, width, 1))

    def _has_chunks(self, array: zarr.Array) -> bool:
        """Tell whether there is any file but the headers; zarr would look for each chunk that the header counts."""
        folders = os.walk(self._folder / array.path)
        return any(name not in _METADATA for _, _, names in folders for name in names)

    def _check_chunks(self, array: zarr.Array, index: Sequence[int | slice], about: str) -> None:
        """Refuse what would fill the memory, and Blosc chunks that are shorter than their header says.

        Blosc decodes what is behind the end of a chunk.
        """
        stored = array.shards or array.chunks
        if not all(side > 0 for side in stored):
            raise ImageError(f"{about}: says that its chunks are of {stored}")
        ranges = [
            range(begin // size, (end - 1) // size + 1)
            for (begin, end), size in zip(map(_bounds, index), stored, strict=True)
        ]
        if math.prod(map(len, ranges)) > _MAX_CHUNKS:
            raise ImageError(
                f"{about}: a window in {math.prod(map(len, ranges))} chunks of {stored}, more than the {_MAX_CHUNKS} "
                "that are read at once; read it by smaller windows, or save it in larger chunks"
            )
        num_bytes = math.prod(array.chunks) * array.dtype.itemsize
        is_blosc = not array.shards and any(
            "blosc" in type(part).__name__.lower() for part in array.compressors
        )
        if num_bytes < _SMALL_CHUNK_BYTES and not is_blosc:
            return
        for place in itertools.product(*ranges):
            chunk = self._folder / array.path / array.metadata.encode_chunk_key(place)
            if not chunk.is_file():
                continue
            size = chunk.stat().st_size
            if num_bytes > _MAX_CHUNK_BYTES or is_bomb(num_bytes, size):
                raise ImageError(
                    f"{about}: its chunk {place} of {size} bytes is said to hold {num_bytes}: it is blank, its header "
                    f"is wrong, or its chunks of {array.chunks} are too large; save it anew"
                )
            with chunk.open("rb") as file:
                header = file.read(16)
            # Blosc 1: flags and sizes, of which the last is that of the chunk, little-endian.
            if is_blosc and (len(header) < 16 or int.from_bytes(header[12:], "little") > size):
                raise ImageError(
                    f"its chunk {array.path}, {place} is cut off (OME-Zarr, Blosc, {array.dtype})"
                )


@FORMATS.register("ome-zarr")
class ZarrFolder(ImageFile):
    """A folder with OME-NGFF metadata; each multiscale image in it is a scene."""

    suffixes = (".zarr",)

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return not head and is_zarr(path)

    def __init__(self, content: BinaryIO | str | os.PathLike[str], name: str) -> None:
        assert isinstance(content, str | os.PathLike)
        import zarr

        group = zarr.open(str(content), mode="r")
        if not isinstance(group, zarr.Group):
            raise ImageError(
                "is a zarr array without OME-NGFF metadata: give the folder with 'multiscales' in its attributes"
            )
        try:
            self.scenes = [
                ZarrScene(found, label, Path(content)) for found, label in _multiscales(group)
            ]
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ImageError(
                "its OME-NGFF metadata are none of version 0.4 or 0.5: something is missing or of another kind "
                f"({type(error).__name__}: {error}); write them anew"
            ) from error
        if not self.scenes:
            raise ImageError("is a zarr group without 'multiscales': no OME-Zarr 0.4 or 0.5 image")


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder is a zarr group or array."""
    return any((Path(path) / name).is_file() for name in _HEADERS)


def _bounds(index: int | slice) -> tuple[int, int]:
    return (index.start, index.stop) if isinstance(index, slice) else (index, index + 1)


def _ome(group: zarr.Group) -> Mapping[str, Any]:
    """Return the NGFF metadata: under ``ome`` since 0.5, at the top before."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _multiscales(group: zarr.Group) -> Iterator[tuple[zarr.Group, str]]:
    attributes = _ome(group)
    if "multiscales" in attributes:
        yield group, ""
    elif "plate" in attributes:
        for well in attributes["plate"]["wells"]:
            well_group = _group(group, well["path"])
            for field in _ome(well_group)["well"]["images"]:
                yield _group(well_group, field["path"]), f"{well['path']}/{field['path']}"
    else:
        # bioformats2raw.layout 3: images in groups 0, 1, ...
        number = 0
        while str(number) in group:
            yield _group(group, str(number)), str(number)
            number += 1


def _group(parent: zarr.Group, path: str) -> zarr.Group:
    import zarr

    found = parent.get(path)
    if not isinstance(found, zarr.Group):
        raise ImageError(f"its metadata names the group {path!r}, which is not there")
    return found


def _array(group: zarr.Group, path: str) -> zarr.Array:
    import zarr

    found = group.get(path)
    if not isinstance(found, zarr.Array):
        raise ImageError(f"its metadata names the array {path!r}, which is not there")
    return found


def _axes(multiscale: Mapping[str, Any], ndim: int) -> str:
    named = multiscale.get("axes") or list("tczyx"[-ndim:])  # before 0.4 always these
    names = [str(axis["name"] if isinstance(axis, dict) else axis).upper() for axis in named]
    axes = "".join(names)
    if len(axes) != ndim or len(set(axes)) != ndim or not {"Y", "X"} <= set(axes) or "S" in axes:
        raise ImageError(f"OME-Zarr with axes {names} for arrays of {ndim} axes")
    return axes


def _pixel_size(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], y: int, x: int
) -> tuple[float, float] | None:
    axes = multiscale.get("axes") or []
    if not axes or not isinstance(axes[0], dict):
        return None
    scales = [1.0] * len(axes)
    for transform in [
        *dataset.get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]:
        if transform.get("type") == "scale":
            scales = [math.prod(pair) for pair in zip(scales, transform["scale"], strict=True)]
    factors = [unit_um(axes[index].get("unit")) for index in (y, x)]
    if factors[0] is None or factors[1] is None:
        return None
    return plausible_pixel_size(scales[y] * factors[0], scales[x] * factors[1])
