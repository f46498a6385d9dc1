"""What a layout of annotation files is, and the one form that all of them are parsed into."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.registry import Registry
from cellseg_mmdet.structures import ImageRecord


class Parsed(NamedTuple):
    """An annotation file, its masks still encoded.

    Attributes:
        classes: class names in the order of the labels.
        images: dicts with ``img_id``, ``img_path`` (relative to the image folder), ``height``, ``width`` in pixels,
            ``cell_type`` and ``group`` (None where unknown), and ``instances``: dicts with ``bbox`` (xyxy in pixels),
            ``bbox_label`` (index into the classes), ``ignore_flag`` (0 or 1) and, where annotated, ``mask`` (a COCO
            RLE with counts of text, or polygons).
    """

    classes: tuple[str, ...]
    images: list[dict[str, Any]]


class Layout(Protocol):
    """A layout of annotation files.

    Attributes:
        title: its name in messages.
        suffixes: of such files, in lower case; the first is the one that is written.
    """

    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def load(self, path: str | os.PathLike[str]) -> Any:
        """Return the content of a file; a DataError that names it says that it is damaged."""

    def parse(self, content: Any, source: str) -> Parsed:
        """Check the content of a file and return what it says; a DataError names ``source`` and the entry."""

    def write(
        self,
        parts: Mapping[Path, Sequence[int]],
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        info: dict[str, Any],
    ) -> None:
        """Write several files, each of some of the records (by index, ascending); the ids of all images are 1..N."""


LAYOUTS: Registry[Layout] = Registry("annotation layout")


def layout_of(path: str | os.PathLike[str]) -> Layout:
    """Return the layout that the suffix of a file names.

    Raises:
        DataError: if it is that of none.
    """
    layouts = [LAYOUTS.get(name)() for name in LAYOUTS.names()]
    for layout in layouts:
        if Path(path).suffix.lower() in layout.suffixes:
            return layout
    known = " or ".join(f"{', '.join(layout.suffixes)} ({layout.title})" for layout in layouts)
    raise DataError(f"{path}: annotation files end with {known}")


def check_entries(
    entries: Any, keys: Sequence[str], source: str, part: str, *, name: str = "id"
) -> None:
    """Raise a DataError unless ``entries`` is a list of dicts with these keys; ``name`` is what tells them apart."""
    if not isinstance(entries, list | tuple):
        raise DataError(f"{source}: {part} is {type(entries).__name__}, not a list")
    for number, entry in enumerate(entries, start=1):
        where = f"{source}: {part}, entry {number}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{where} is {type(entry).__name__}, not an object")
        missing = [key for key in keys if key not in entry]
        if missing:
            raise DataError(f"{where} ({name} {entry.get(name)}): no {listed(missing)}")


def listed(names: Iterable[str]) -> str:
    """Return names in quotes, separated by commas."""
    return ", ".join(map(repr, names))


def image_fields(record: ImageRecord) -> dict[str, Any]:
    """Return the size, and cell type and group where known, as all layouts have them."""
    known = {"cell_type": record.cell_type, "group": record.group}
    return {"height": record.height, "width": record.width} | {
        k: v for k, v in known.items() if v is not None
    }


def with_text_counts(mask: Any) -> Any:
    """Return a mask whose counts, if it is a compressed RLE, are text."""
    # mmdet's own LoadAnnotations takes compressed counts as str only: an instance with bytes is silently ignored.
    if isinstance(mask, dict) and isinstance(mask.get("counts"), bytes):
        return dict(mask, counts=mask["counts"].decode("ascii"))
    return mask
