"""LIVECell: COCO polygons, whole or one file per cell type, whose ``annotations`` are a dict."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.findings import Finding
from cellseg_mmdet.converters.pipeline import (
    Converted,
    Row,
    convert_images,
    finish_image,
)
from cellseg_mmdet.converters.reader import READERS, shared_options
from cellseg_mmdet.converters.rejects import OnError, Rejected
from cellseg_mmdet.errors import CellsegError, DataError, MaskError, UsageError, shortened, shown
from cellseg_mmdet.fields import FieldError, flag, identifier, required, size_hw, text
from cellseg_mmdet.fileio import load_json
from cellseg_mmdet.images import image_size_hw, is_image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.parsing import parse_masks
from cellseg_mmdet.masks.polygons import segmentations_to_runs
from cellseg_mmdet.structures import ImageRecord

CATEGORY = "cell"


@dataclass(frozen=True)
class _Task:
    source: str
    name: str  # without folder and suffix
    size_hw: tuple[int, int]  # as the annotation file has it
    path: str | None  # of the image file, relative to the image folder
    annotations: list[dict[str, Any]]
    fault: str = ""  # of its entry in the annotation file


def find_livecell_images(images_dir: str | os.PathLike[str]) -> dict[str, str]:
    """Return the images of a folder and its sub-folders by their stem: paths with '/', relative to the folder.

    Raises:
        NotADirectoryError: if there is no such folder.
        DataError: if two images share a stem.
    """
    root = Path(images_dir)
    if not root.is_dir():
        raise NotADirectoryError(f"image folder {root} does not exist")
    images: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        if is_image(path):
            relative = path.relative_to(root).as_posix()
            if images.setdefault(path.stem, relative) != relative:
                raise DataError(f"{images[path.stem]} and {relative} in {root} share a name")
    return images


def read_livecell(
    paths: Sequence[str | os.PathLike[str]],
    images_dir: str | os.PathLike[str],
    images: Mapping[str, str],
    *,
    taken: Mapping[str, str] | None = None,
    cleaning: Cleaning | None = None,
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Read the annotation files of one split. The class of all cells is 'cell'; ``cell_type`` is the cell line.

    LIVECell lists some images twice, and some in two splits. Of an image that comes twice the entry with more cells is
    read; an image of ``taken`` is left out. Both are findings.

    Args:
        paths: annotation files.
        images_dir: folder of the images, with sub-folders.
        images: what `find_livecell_images` found there. Suffixes are not compared: copies of the data set exist whose
            annotations say png.
        taken: images that another split holds, and the name of that split.
        cleaning: cleaning steps.
        on_error: 'stop' or 'skip', as in `convert_images`.
        workers: processes; by default one per core.

    Raises:
        DataError: if a file is of another layout; the message names it.
        DataSetError: for images and annotations that cannot be used, unless ``on_error`` is 'skip'.
    """
    tasks: dict[str, _Task] = {}
    findings: list[Finding] = []
    for path in paths:
        for task in _tasks_of(str(path), images):
            other = (taken or {}).get(task.name)
            if other is not None:
                detail = f"is in {other} as well and was left out here"
                findings.append(Finding(task.source, task.name, "in two splits", detail))
                continue
            known = tasks.get(task.name)
            if known is not None:
                counts = sorted((len(known.annotations), len(task.annotations)))
                detail = f"listed with {counts[1]} cells, which were kept, and with {counts[0]}"
                findings.append(Finding(task.source, task.name, "listed twice", detail))
            if known is None or len(task.annotations) > len(known.annotations):
                tasks[task.name] = task
    convert = partial(_convert_image, images_dir=str(images_dir), cleaning=cleaning or Cleaning())
    converted = convert_images(convert, list(tasks.values()), on_error=on_error, workers=workers)
    converted.findings = findings
    return converted


def _tasks_of(path: str, images: Mapping[str, str]) -> list[_Task]:
    content = load_json(path)
    of_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, annotation in enumerate(_entries(content, "annotations", path), start=1):
        # Some files have ids as text in one part and as numbers in the other.
        of_image[_id_of(annotation, "image_id", f"{path}: annotations, entry {number}")].append(
            annotation
        )
    tasks = []
    for number, image in enumerate(_entries(content, "images", path), start=1):
        where = f"{path}: images, entry {number}"
        annotations = of_image.pop(_id_of(image, "id", where), [])
        try:
            name = Path(text(required(image, "file_name"), "file_name")).stem
        except FieldError as error:
            raise DataError(f"{where}: {error}") from error
        try:
            size, fault = size_hw(image), ""
        except FieldError as error:
            size, fault = (0, 0), f"images, entry {number}: {error}"
        tasks.append(_Task(path, name, size, images.get(name), annotations, fault))
    if of_image:
        image_id, annotations = next(iter(of_image.items()))
        raise DataError(
            f"{path}: annotation {_name_of(annotations[0])} belongs to image_id {shortened(image_id, 60)}, "
            "which is not among the file's images"
        )
    return tasks


def _id_of(entry: dict[str, Any], key: str, where: str) -> str:
    try:
        return str(identifier(required(entry, key), key))
    except FieldError as error:
        raise DataError(f"{where}: {error}") from error


def _entries(content: Any, part: str, path: str) -> list[dict[str, Any]]:
    entries = content.get(part) if isinstance(content, dict) else None
    if isinstance(entries, dict):
        entries = list(entries.values())
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(
            f"{path}: no {part!r}; a file of LIVECell has 'images' and 'annotations', each a list or a dict"
        )
    return entries


def _convert_image(task: _Task, *, images_dir: str, cleaning: Cleaning) -> Converted:
    try:
        if task.fault:
            raise DataError(task.fault)
        cell_type, separator, _ = task.name.partition("_Phase_")
        if not separator:
            raise DataError("the name does not begin with a cell line, as A172_Phase_... does")
        if task.path is None:
            raise FileNotFoundError(f"no image file {task.name} in {images_dir} or below")
        height, width = image_size_hw(Path(images_dir) / task.path)
        if (height, width) != task.size_hw:
            raise DataError(
                f"height {task.size_hw[0]} and width {task.size_hw[1]} differ from the image file's {height} x {width}"
            )
    except (OSError, CellsegError) as error:
        return Converted(rejected=[Rejected(task.source, None, task.name, str(error))])
    masks, rows, rejected = _read_masks(task, height, width)
    record = ImageRecord(
        task.path, height, width, masks, (CATEGORY,) * len(masks), cell_type=cell_type
    )
    converted = finish_image(record, rows, cleaning, source=task.source, image_id=task.name)
    converted.rejected = rejected + converted.rejected
    return converted


def _read_masks(task: _Task, height: int, width: int) -> tuple[Runs, list[Row], list[Rejected]]:
    masks, faults = parse_masks(partial(_to_runs, height=height, width=width), task.annotations)
    sources = [f"{task.source}, annotation {_name_of(entry)}" for entry in task.annotations]
    rows = [Row(source=source) for i, source in enumerate(sources) if i not in faults]
    rejected = [Rejected(sources[i], None, task.name, cause) for i, cause in faults.items()]
    return masks, rows, rejected


def _name_of(annotation: dict[str, Any]) -> str:
    key = annotation.get("id")
    return str(key) if type(key) is int else shown(key)


def _to_runs(annotations: Sequence[dict[str, Any]], height: int, width: int) -> Runs:
    for index, entry in enumerate(annotations):
        try:
            if flag(entry.get("iscrowd"), "iscrowd"):
                raise MaskError("iscrowd is 1, a region of many cells; allowed is 0", index)
        except FieldError as error:
            raise MaskError(error.cause, index) from error
    segmentations = [entry.get("segmentation", []) for entry in annotations]
    try:
        return segmentations_to_runs(segmentations, height, width)
    except MaskError as error:
        raise MaskError(f"segmentation: {error.cause}", error.instance) from error


@READERS.register("livecell")
class LiveCellReader:
    """Convert LIVECell to COCO or MMDetection annotations of one class, 'cell': train, val and test as given."""

    output = "splits"

    def add_arguments(self, parser: ArgumentParser) -> None:
        for split in ("train", "val", "test"):
            parser.add_argument(
                f"--{split}",
                nargs="+",
                metavar="JSON",
                help=f"livecell_coco_{split}.json, or several files of single cell lines",
            )
        parser.add_argument(
            "--images", required=True, help="folder of the images, with sub-folders"
        )

    def read(self, args: Namespace) -> Iterator[Converted]:
        # What scores a model is kept whole: an image of two splits stays with the first of these.
        names = [name for name in ("test", "val", "train") if getattr(args, name)]
        if not names:
            raise UsageError(
                "name the annotation files of at least one of --train, --val and --test"
            )
        shared = shared_options(args)
        images = find_livecell_images(args.images)
        taken: dict[str, str] = {}
        # One after the other: the largest of the files takes some gigabytes of memory.
        for split in names:
            paths = getattr(args, split)
            converted = read_livecell(paths, args.images, images, taken=taken, **shared)
            converted.source, converted.split = paths[0], split
            taken |= {Path(record.file_name).stem: split for record in converted.records}
            yield converted
