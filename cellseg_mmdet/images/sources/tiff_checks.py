"""What tifffile takes at its word: chains of page headers, and numbers of planes; they are compared with the file."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import numpy as np
import tifffile

from cellseg_mmdet.errors import ImageError, quoted

# tifffile makes a list of them all, whether they are there or not.
_MAX_PLANES = 1 << 22
_MAX_ENTRIES = 4096  # of a page header, as tifffile has it
_MAX_LEVELS = 256  # half the sides each time, from a picture of any size to a pixel, in some planes


def check_chain(content: BinaryIO) -> None:
    """Refuse a chain of page headers that comes back to one of them, or goes to where none can be.

    tifffile would follow the first for ever, and leave out the pages behind the second: those of a file that is cut
    off.

    Raises:
        ImageError: it does.
    """
    num_bytes = content.seek(0, os.SEEK_END)
    content.seek(0)
    head = content.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    is_big = head[2:4] in (b"+\0", b"\0+")
    count_bytes, entry_bytes, offset_bytes = (8, 20, 8) if is_big else (2, 12, 4)
    offset = int.from_bytes(head[8:16] if is_big else head[4:8], order)
    # Hamamatsu's and Zeiss's old formats go beyond 4 GB with offsets that are not told here.
    is_plain = is_big or num_bytes < 1 << 32
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise ImageError(f"its chain of page headers comes back to byte {offset}; save it anew")
        seen.add(offset)
        if offset + count_bytes > num_bytes:
            if not is_plain:
                break
            raise ImageError(
                f"its page header {len(seen) - 1} is said to be at byte {offset}, and the file ends at {num_bytes}: "
                "it is cut off; copy it anew"
            )
        content.seek(offset)
        count = int.from_bytes(content.read(count_bytes), order)
        if not 0 < count <= _MAX_ENTRIES:
            raise ImageError(
                f"its page header {len(seen) - 1}, at byte {offset}, says that it has {count} entries; "
                f"allowed are 1 to {_MAX_ENTRIES}: save it anew"
            )
        content.seek(offset + count_bytes + count * entry_bytes)
        following = content.read(offset_bytes)
        offset = int.from_bytes(following, order) if len(following) == offset_bytes else 0
    content.seek(0)


def check_said(tiff: tifffile.TiffFile) -> None:
    """Refuse what a header or a description says that would fill the memory, or take hours to look at.

    Raises:
        ImageError: it says that there are more planes, or reduced pages, than any file has.
    """
    num_reduced = len(tiff.pages.first.subifds or ())
    if num_reduced > _MAX_LEVELS:
        raise ImageError(
            f"its first page says that it has {num_reduced} reduced ones, more than the {_MAX_LEVELS} allowed; "
            "save it anew"
        )
    if tiff.is_ome:
        _check_planes("OME-XML", sum(_ome_planes(tiff.ome_metadata)))
        _check_planes("OME-XML", max(_ome_modulos(tiff.ome_metadata), default=0))
    elif tiff.is_scn:
        _check_planes("SCN description", sum(_scn_planes(tiff.pages.first.description)))
    elif tiff.is_micromanager:
        index = (tiff.micromanager_metadata or {}).get("IndexMap")
        if index is not None and len(index):
            sides = np.ptp(np.asarray(index)[:, :4].astype(np.int64), axis=0) + 1
            _check_planes("Micro-Manager index", math.prod(sides.tolist()))


def check_imagej(tiff: tifffile.TiffFile) -> None:
    """Refuse an ImageJ stack of which planes are missing; tifffile takes the first for all.

    Raises:
        ImageError: they are, or its numbers are none.
    """
    said = tiff.imagej_metadata or {}
    counts = {name: said.get(name, 1) for name in ("frames", "slices", "channels")}
    for name, count in counts.items():
        if not isinstance(count, int):
            raise ImageError(f"its ImageJ description says {name}={quoted(count)}, no whole number")
    num_planes = math.prod(counts.values())
    found = len(tiff.pages) * max(tiff.pages.first.samplesperpixel, 1)
    if num_planes > found and not any(one.kind in ("imagej", "ome") for one in tiff.series):
        raise ImageError(
            f"its ImageJ description says {num_planes} planes, the file has the pixels of {len(tiff.pages)}: "
            "it is cut off, or the description is that of another file; copy it anew, or save it anew"
        )


def _check_planes(where: str, number: int) -> None:
    if number > _MAX_PLANES:
        raise ImageError(
            f"its {where} says {number} planes, more than the {_MAX_PLANES} allowed; save it anew"
        )


def _elements(text: str | None) -> Iterator[ElementTree.Element]:
    try:
        root = ElementTree.fromstring(text or "")
    except ElementTree.ParseError:
        return
    yield from root.iter()


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _whole(element: ElementTree.Element, key: str, default: int) -> int:
    text = element.get(key)
    try:
        return default if text is None else max(int(text), 0)
    except ValueError:
        raise ImageError(f"its description says {key}={quoted(text)}, no whole number") from None


def _ome_planes(text: str | None) -> Iterator[int]:
    """Yield how many planes each image, and each part of one, makes tifffile list."""
    for pixels in _elements(text):
        if _name(pixels) != "Pixels":
            continue
        sizes = {axis: max(_whole(pixels, f"Size{axis}", 1), 1) for axis in "ZCT"}
        yield math.prod(sizes.values())
        for data in pixels:
            if _name(data) == "TiffData":
                count = _whole(data, "PlaneCount", _whole(data, "NumPlanes", 0))
                yield count if count > _MAX_PLANES else 0


def _ome_modulos(text: str | None) -> Iterator[int]:
    """Yield the lengths of axes inside others."""
    for along in _elements(text):
        if _name(along).startswith("ModuloAlong") and along.get("Start") is not None:
            try:
                start, end = float(along.get("Start", 0)), float(along.get("End", 0))
                yield int(abs(end - start) / abs(float(along.get("Step", 1)))) + 1
            except (ValueError, OverflowError, ZeroDivisionError):
                raise ImageError(
                    "its OME-XML has a Modulo without a range that can be read"
                ) from None


def _scn_planes(text: str) -> Iterator[int]:
    for pixels in _elements(text):
        places = [one for one in pixels if _name(one) == "dimension"]
        if places:
            yield math.prod(max(_whole(one, key, 0) for one in places) + 1 for key in "cz")
