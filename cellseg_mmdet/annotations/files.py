"""Annotation files of any layout, to and from `ImageRecord`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet import __version__
from cellseg_mmdet.annotations.layout import LAYOUTS, layout_of
from cellseg_mmdet.annotations.sets import FileSet, check_set, content_ids, with_id
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
    categories = _all_categories(records, categories)
    layout = layout_of(path)
    content = layout.build(records, categories, info or {})
    with atomic_write(path) as temporary:
        layout.save(content, temporary)


def stage_annotation_parts(
    files: FileSet,
    parts: Mapping[Path, Sequence[int]],
    records: Sequence[ImageRecord],
    *,
    categories: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write several annotation files of a set, each of some of the records (by index), such as folds.

    An image, and in COCO an annotation, has the same id in every file; classes are those of all records.

    Raises:
        DataError: as `write_annotations`.
    """
    categories = _all_categories(records, categories)
    contents: dict[tuple[str, ...], Any] = {}  # those of all records, by the suffixes of a layout
    ids = content_ids(parts, records, [list(categories), info])
    for path, members in parts.items():
        layout = layout_of(path)
        if layout.suffixes not in contents:
            contents[layout.suffixes] = layout.build(records, categories, info or {})
        content = layout.select(contents[layout.suffixes], {index + 1 for index in members})
        layout.save(with_id(content, ids[path]), files.stage(path, ids[path]))


def _all_categories(
    records: Sequence[ImageRecord], categories: Sequence[str] | None
) -> tuple[str, ...]:
    found = category_names(records)
    if categories is None:
        return found
    unknown = sorted(set(found) - set(categories))
    if unknown:
        raise DataError(f"categories {unknown} are not among {list(categories)}")
    return tuple(categories)


def read_annotations(path: str | os.PathLike[str]) -> list[ImageRecord]:
    """Read COCO json (RLE or polygons) or MMDetection 3.x pickle; images in file order, cells in theirs.

    What is to be ignored (``iscrowd``, ``ignore_flag``) is no cell, and left out.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if the file is of neither layout, is damaged, or does not belong to the files beside it
            (`check_set`); the message names file and entry.
    """
    layout = layout_of(path)
    content = layout.load(path)
    check_set(path, content)
    classes, images = layout.parse(content, str(path))
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
