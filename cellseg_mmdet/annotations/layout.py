"""What a layout of annotation files is, and the one form that all of them are parsed into."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from cellseg_mmdet.annotations.faults import Faults
from cellseg_mmdet.errors import DataError, shown
from cellseg_mmdet.fields import (
    FieldError,
    Identifier,
    identifier,
    optional_text,
    required,
    size_hw,
    text,
)
from cellseg_mmdet.registry import Registry
from cellseg_mmdet.structures import ImageRecord


class Parsed(NamedTuple):
    """An annotation file, its masks still encoded.

    Attributes:
        classes: class names in the order of the labels.
        images: dicts with ``img_id``, ``img_path`` (relative to the image folder), ``height``, ``width`` in pixels,
            ``cell_type`` and ``group`` (None where unknown), and ``instances``: dicts with ``bbox`` (xyxy in pixels),
            ``bbox_label`` (index into the classes), ``ignore_flag`` (0 or 1), where annotated ``mask`` (a COCO RLE with
            counts of text, or polygons), and until they are validated ``entry``, what messages call them.
        category_ids: of the classes, where a file has such; COCO results refer to them.
        number: how many annotations the file lists, whether they can be used or not.
    """

    classes: tuple[str, ...]
    images: list[dict[str, Any]]
    category_ids: tuple[Identifier, ...] = ()
    number: int = 0


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

    def parse(self, content: Any, faults: Faults) -> Parsed:
        """Return what the content of a file says, but for the entries that become ``faults``.

        Masks are left to `validate`. A DataError is raised for what leaves nothing to read.
        """

    def write(
        self,
        parts: Mapping[Path, Sequence[int]],
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        infos: Mapping[Path, dict[str, Any]],
    ) -> None:
        """Write several files, each of some of the records (by index, ascending) and with its own info.

        The ids of all images are 1..N, those of annotations are counted over all records.
        """


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


def entries_of(value: Any, part: str, faults: Faults) -> list[Any]:
    """Return the entries of a part of a file.

    Raises:
        DataError: it is no list.
    """
    if not isinstance(value, list | tuple):
        raise faults.whole_file(f"{part} is {shown(value)}; it must be a list")
    return list(value)


def as_object(entry: Any) -> Mapping[str, Any]:
    """Return an entry.

    Raises:
        FieldError: it is no object.
    """
    if isinstance(entry, Mapping):
        return entry
    raise FieldError("no object", f"is {shown(entry)}, not an object")


def image_of(entry: Mapping[str, Any], name_key: str) -> dict[str, Any]:
    """Return path, size, cell type and group of an image, its name under ``name_key``.

    Raises:
        FieldError: one is missing, or none that is allowed.
    """
    name = text(required(entry, name_key), name_key)
    height, width = size_hw(entry)
    group = entry.get("group")
    return {
        "img_path": name,
        "height": height,
        "width": width,
        "cell_type": optional_text(entry.get("cell_type"), "cell_type"),
        "group": None if group is None else identifier(group, "group"),
    }


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
    if (
        isinstance(mask, dict)
        and isinstance(mask.get("counts"), bytes)
        and mask["counts"].isascii()
    ):
        return dict(mask, counts=mask["counts"].decode("ascii"))
    return mask
