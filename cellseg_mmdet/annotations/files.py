"""Annotation files of any layout, to and from `ImageRecord`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet import __version__
from cellseg_mmdet.annotations.layout import LAYOUTS, layout_of
from cellseg_mmdet.errors import DataError, MaskError
from cellseg_mmdet.fileio import atomic_write, sha256_of
from cellseg_mmdet.masks.polygons import segmentations_to_runs
from cellseg_mmdet.structures import ImageRecord


def suffix_of(layout: str) -> str:
    """Return what the names of files end with that are written in a layout of `LAYOUTS`."""
    return LAYOUTS.get(layout)().suffixes[0]


def source_info(source: str | os.PathLike[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return what an annotation file records of its origin: source file and hash (of a file), version and options."""
    path = Path(source)
    info: dict[str, Any] = {
        "description": f"converted by cellseg_mmdet {__version__}",
        "source": path.name,
    }
    if path.is_file():
        info["source_sha256"] = sha256_of(path)
    return info | {"options": options}


def category_names(records: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Return the class names that occur, sorted: the order of category ids and labels."""
    return tuple(sorted({name for record in records for name in record.categories}))


def write_annotations(
    path: str | os.PathLike[str],
    records: Sequence[ImageRecord],
    *,
    categories: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write records in the layout that the suffix names: COCO (``.json``) or MMDetection 3.x (``.pkl``, ``.pickle``).

    Args:
        path: annotation file to write.
        records: the images; their ids are 1..N.
        categories: class names in the order of their ids; by default those that occur, sorted.
        info: origin of the data, see `source_info`.

    Raises:
        DataError: for another suffix, or a category that is not among ``categories``.
    """
    write_annotation_parts(
        {Path(path): range(len(records))}, records, categories=categories, info=info
    )


def write_annotation_parts(
    parts: Mapping[Path, Sequence[int]],
    records: Sequence[ImageRecord],
    *,
    categories: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write several annotation files, each of some of the records (by index), such as folds.

    An image, and in COCO an annotation, has the same id in every file; classes are those of all records.

    Raises:
        DataError: as `write_annotations`.
    """
    categories = category_names(records) if categories is None else tuple(categories)
    unknown = sorted(set(category_names(records)) - set(categories))
    if unknown:
        raise DataError(f"categories {unknown} are not among {list(categories)}")
    by_suffixes: dict[tuple[str, ...], dict[Path, Sequence[int]]] = {}
    for path, members in parts.items():
        by_suffixes.setdefault(layout_of(path).suffixes, {})[path] = sorted(set(members))
    for of_layout in by_suffixes.values():
        with contextlib.ExitStack() as stack:
            temporary = {
                stack.enter_context(atomic_write(path)): members
                for path, members in of_layout.items()
            }
            layout_of(next(iter(of_layout))).write(temporary, records, categories, info or {})


def read_annotations(path: str | os.PathLike[str]) -> list[ImageRecord]:
    """Read COCO json (RLE or polygons) or MMDetection 3.x pickle; images in file order, cells in theirs.

    What is to be ignored (``iscrowd``, ``ignore_flag``) is no cell, and left out.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if the file is of neither layout or is damaged; the message names file and entry.
    """
    layout = layout_of(path)
    classes, images = layout.parse(layout.load(path), str(path))
    return [_to_record(image, classes, path) for image in images]


def _to_record(
    image: dict[str, Any], classes: tuple[str, ...], path: str | os.PathLike[str]
) -> ImageRecord:
    where = f"{path}: image {image['img_id']} ({image['img_path']})"
    instances = [instance for instance in image["instances"] if not instance["ignore_flag"]]
    unmasked = [number for number, instance in enumerate(instances) if "mask" not in instance]
    if unmasked:
        raise DataError(f"{where}: instance {unmasked[0]} has no mask")
    height, width = int(image["height"]), int(image["width"])
    try:
        masks = segmentations_to_runs([instance["mask"] for instance in instances], height, width)
    except MaskError as error:
        raise DataError(f"{where}: {error}") from error
    return ImageRecord(
        file_name=image["img_path"],
        height=height,
        width=width,
        masks=masks,
        categories=tuple(classes[instance["bbox_label"]] for instance in instances),
        cell_type=image["cell_type"],
        group=image["group"],
    )
