"""TIFF of every kind that tifffile knows: plain, multi-page, ImageJ, OME, pyramids."""

from __future__ import annotations

import logging
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import tifffile

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import plausible_pixel_size, unit_um
from cellseg_mmdet.images.orientation import Window, usable_orientation
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene
from cellseg_mmdet.images.sources.tiff_checks import check_chain, check_imagej, check_said
from cellseg_mmdet.images.sources.tiff_pages import PageReader, read_contiguous

# What it cannot make sense of becomes an error of ours where it matters; it logs a line for each damaged tag.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_INCH, _CENTIMETRE = 2, 3


class TiffScene(Scene):
    """One series of pages.

    Args:
        series: as tifffile finds it.
        file: the open TIFF.
        ome: what OME's XML says about the picture, if there is such.
    """

    def __init__(
        self, series: tifffile.TiffPageSeries, file: tifffile.TiffFile, ome: OmePicture | None
    ) -> None:
        self._file = file
        self._levels = [level for level in series.levels if _comparable(level, series)]
        self._reader = PageReader(file, series.keyframe)
        self.codec = self._reader.description
        self.name = ome.name if ome and ome.name else (series.name or "")
        front, front_shape = _front_axes(series)
        samples = self._reader.num_samples
        self._samples_are_channels = samples > 1 and not self._reader.is_colour
        inner = "S" if self._reader.is_colour else "C" if self._samples_are_channels else ""
        if inner == "C" and "C" in front:
            if front_shape[front.index("C")] > 1:
                raise ImageError(
                    f"its pages of {samples} samples without colour have channels besides"
                )
            front = front.replace("C", _unused_letter(front))
        self.axes = f"{front}YX{inner}"
        self._front, self._front_shape = front, front_shape
        size_hw = (series.keyframe.imagelength, series.keyframe.imagewidth)
        inner_shape = (3,) if inner == "S" else (samples,) if inner == "C" else ()
        self.shape = (*front_shape, *size_hw, *inner_shape)
        self.levels = tuple(
            (level.keyframe.imagelength, level.keyframe.imagewidth) for level in self._levels
        )
        self.dtype = self._reader.dtype
        tag = series.keyframe.tags.get("Orientation")
        self.orientation = usable_orientation(int(tag.value) if tag else 1)
        self.channels = _channel_names(self, file, ome)
        self.pixel_size_um = _pixel_size(series.keyframe, file, ome)

    def read(self, at: Mapping[str, int], window: Window, level: int = 0) -> np.ndarray:
        """Decode the strips or tiles that the window touches, and no other."""
        series = self._levels[level]
        index = 0
        for axis, length in zip(self._front, self._front_shape, strict=True):
            index = index * length + at.get(axis, 0)
        reader = self._reader if level == 0 else PageReader(self._file, series.keyframe)
        samples = at["C"] if self._samples_are_channels else None
        num_pages = math.prod(self._front_shape)
        if num_pages > 1 and _is_truncated(series):
            return read_contiguous(self._file, series, index, window, reader)
        page = series.pages[index]
        if page is None:
            raise ImageError(f"page {index} of {num_pages} is missing")
        return reader.read(page, window, samples)


@FORMATS.register("tiff")
class TiffFile(ImageFile):
    """TIFF and BigTIFF in either byte order."""

    suffixes = (".tif", ".tiff", ".btf")

    @classmethod
    def accepts(cls, head: bytes, path: str) -> bool:
        return head[:4] in _MAGIC

    def __init__(self, content: BinaryIO | str | os.PathLike[str], name: str) -> None:
        assert not isinstance(content, str | os.PathLike)
        check_chain(content)
        self._tiff = tifffile.TiffFile(content, name=name)
        try:
            check_said(self._tiff)
            pictures = ome_pictures(self._tiff.ome_metadata) if self._tiff.is_ome else []
            if self._tiff.is_imagej:
                check_imagej(self._tiff)
            series = [one for one in self._tiff.series if not one.keyframe.is_reduced]
            series = series or list(self._tiff.series)
            if not series:
                raise ImageError("holds no picture")
            self.scenes = [
                TiffScene(
                    one,
                    self._tiff,
                    pictures[number] if len(pictures) == len(series) else None,
                )
                for number, one in enumerate(series)
            ]
        except BaseException:
            self._tiff.close()
            raise

    def close(self) -> None:
        self._tiff.close()


class OmePicture:
    """What OME's XML says about one ``Image``.

    Attributes:
        name: of the image.
        channels: names of its channels, '' for one without.
        pixel_size_um: (height, width) of a pixel, or None.
    """

    def __init__(self, element: ElementTree.Element) -> None:
        self.name = element.get("Name", "")
        pixels = next((child for child in element if _tag(child) == "Pixels"), None)
        self.channels: tuple[str, ...] = ()
        self.pixel_size_um: tuple[float, float] | None = None
        if pixels is None:
            return
        found = [child for child in pixels if _tag(child) == "Channel"]
        self.channels = tuple(child.get("Name", "") for child in found)
        sizes = []
        for axis in "YX":
            factor = unit_um(pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m"))
            size = pixels.get(f"PhysicalSize{axis}")
            sizes.append(_number(size) * factor if size and factor else 0.0)
        self.pixel_size_um = plausible_pixel_size(sizes[0], sizes[1])


def ome_pictures(text: str | None) -> list[OmePicture]:
    """Return the images of an OME-XML text, in its order; none if it cannot be parsed."""
    try:
        root = ElementTree.fromstring(text or "")
    except ElementTree.ParseError:
        return []
    return [OmePicture(child) for child in root if _tag(child) == "Image"]


def _number(text: str) -> float:
    """Return a number; 0.0 for a text that is none, which says as little."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _comparable(level: tifffile.TiffPageSeries, full: tifffile.TiffPageSeries) -> bool:
    return level.axes == full.axes and level.keyframe.samplesperpixel == (
        full.keyframe.samplesperpixel
    )


def _front_axes(series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Return the axes along which the pages of a series are counted, and their lengths."""
    keyframe = series.keyframe
    if keyframe.imagedepth > 1 or set(keyframe.axes) - set("YXS"):
        raise ImageError(f"its pages have axes {keyframe.axes}: volumes in one page are not read")
    page_axes = len(keyframe.shape)
    axes, shape = series.axes, tuple(series.shape)
    # tifffile drops axes of length one, those of pages as well.
    inner = [axis for axis in "YXS" if axis in axes]
    front = [(axis, size) for axis, size in zip(axes, shape, strict=True) if axis not in inner]
    num_pages = math.prod(size for _, size in front)
    if num_pages * keyframe.size != math.prod(shape):
        raise ImageError(f"its series has shape {shape}, its pages {keyframe.shape} ({page_axes}D)")
    return "".join(axis for axis, _ in front), tuple(size for _, size in front)


def _is_truncated(series: tifffile.TiffPageSeries) -> bool:
    """Tell whether one page header stands for the pixels of all, one behind the other."""
    return len(series.pages) == 1 or bool(getattr(series, "is_truncated", False))


def _unused_letter(axes: str) -> str:
    return next(letter for letter in "QIPRHEAV" if letter not in axes)


def _channel_names(
    scene: Scene, file: tifffile.TiffFile, ome: OmePicture | None
) -> tuple[str, ...]:
    count = scene.sizes.get("C", 0)
    names: Sequence[Any] = ()
    if ome is not None:
        names = ome.channels
    elif file.is_imagej:
        labels = (file.imagej_metadata or {}).get("Labels", ())
        names = labels if isinstance(labels, list | tuple) else (labels,)
    names = tuple(str(name) for name in names)
    return names if len(names) == count and all(names) and len(set(names)) == count else ()


def _pixel_size(
    page: tifffile.TiffPage, file: tifffile.TiffFile, ome: OmePicture | None
) -> tuple[float, float] | None:
    if ome is not None and ome.pixel_size_um:
        return ome.pixel_size_um
    resolutions = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        value = tag.value if tag else (0, 1)
        numerator, denominator = value if isinstance(value, tuple) else (value, 1)
        resolutions.append(numerator / denominator if denominator else 0.0)
    if not all(resolutions):
        return None
    factor = None
    if file.is_imagej:
        factor = unit_um((file.imagej_metadata or {}).get("unit"))
    unit_tag = page.tags.get("ResolutionUnit")
    if factor is None and unit_tag and not (file.imagej_metadata or {}).get("unit"):
        factor = {_INCH: 25400.0, _CENTIMETRE: 1e4}.get(int(unit_tag.value))
    if factor is None:
        return None
    return plausible_pixel_size(factor / resolutions[0], factor / resolutions[1])
