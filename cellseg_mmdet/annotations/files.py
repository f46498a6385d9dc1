"""Annotation files of any layout, to and from `ImageRecord`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet import __version__
from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.annotations.layout import LAYOUTS, layout_of
from cellseg_mmdet.annotations.sets import FileSet, content_ids, with_id
from cellseg_mmdet.annotations.validate import Checked, merged, read_checked
from cellseg_mmdet.errors import DataError, UsageError, shown
from cellseg_mmdet.fileio import atomic_write, sha256_of
from cellseg_mmdet.structures import ImageRecord

AnnotationFiles = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_LOG = logging.getLogger(__name__)


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
    with atomic_write(path) as temporary:
        everything = {temporary: range(len(records))}
        layout_of(path).write(everything, records, categories, {temporary: info or {}})


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
    ids = content_ids(parts, records, [list(categories), info])
    by_suffixes: dict[tuple[str, ...], list[Path]] = {}
    for path in parts:
        by_suffixes.setdefault(layout_of(path).suffixes, []).append(path)
    for paths in by_suffixes.values():
        staged = {path: files.stage(path, ids[path]) for path in paths}
        layout_of(paths[0]).write(
            {staged[path]: sorted(set(parts[path])) for path in paths},
            records,
            categories,
            {staged[path]: with_id(info or {}, ids[path]) for path in paths},
        )


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


def read_annotations(
    path: AnnotationFiles,
    *,
    on_error: OnError = "stop",
    tell: Callable[[str], Any] | None = None,
) -> list[ImageRecord]:
    """Read COCO json (RLE or polygons) or MMDetection 3.x pickle; images in file order, cells in theirs.

    What is a cell and what is not, `validate` decides. What is to be ignored (``iscrowd``, ``ignore_flag``) is no cell,
    and left out.

    Args:
        path: one file, or several that are read as one.
        on_error: 'stop', or 'skip' to leave out entries that cannot be used.
        tell: is called with sentences about what was left out; by default they are logged as warnings.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if the file is of neither layout, is damaged, or does not belong to the files beside it
            (`check_set`); the message names file and entry.
    """
    checked = read_checked_files(path, on_error=on_error)
    for sentence in checked.said:
        (tell or _LOG.warning)(sentence)
    return to_records(checked)


def read_checked_files(path: AnnotationFiles, **options: Any) -> Checked:
    """Read one file, or several as one; options are those of `read_checked`."""
    paths = files_of(path)
    return merged([read_checked(one, **options) for one in paths], paths)


def files_of(path: AnnotationFiles) -> list[str]:
    """Return one file, or several, as a list.

    Raises:
        UsageError: there is none.

    Example:
        >>> files_of("a.json"), files_of(["a.json", "b.json"])
        (['a.json'], ['a.json', 'b.json'])
    """
    if isinstance(path, str | os.PathLike):
        return [os.fspath(path)]
    if not path or not all(isinstance(one, str | os.PathLike) for one in path):
        raise UsageError(f"{shown(path)} are no annotation files: give one, or a list of them")
    return [os.fspath(one) for one in path]


def to_records(checked: Checked) -> list[ImageRecord]:
    """Return the cells of a file that was read with its masks."""
    assert checked.masks is not None
    records = []
    for image, masks in zip(checked.images, checked.masks, strict=True):
        instances = image["instances"]
        cells = [number for number, one in enumerate(instances) if not one["ignore_flag"]]
        records.append(
            ImageRecord(
                file_name=image["img_path"],
                height=image["height"],
                width=image["width"],
                masks=masks if len(cells) == len(instances) else masks[np.array(cells, np.int64)],
                categories=tuple(
                    checked.classes[instances[number]["bbox_label"]] for number in cells
                ),
                cell_type=image["cell_type"],
                group=image["group"],
            )
        )
    return records
