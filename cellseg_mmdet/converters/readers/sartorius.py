"""The Sartorius competition's ``train.csv``: one row per cell, row-major run-length strings, images beside it."""

from __future__ import annotations

import functools
import os
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cellseg_mmdet.annotations.cell_csv import TRAIN_CSV_COLUMNS
from cellseg_mmdet.annotations.csv_rows import Row as CsvRow
from cellseg_mmdet.annotations.csv_rows import read_table
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.csv_cells import passes_end, size_fault
from cellseg_mmdet.converters.pipeline import Converted, Row, convert_images, finish_image
from cellseg_mmdet.converters.reader import READERS, shared_options
from cellseg_mmdet.converters.rejects import OnError, Rejected
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.images import files_by_stem, image_size_hw
from cellseg_mmdet.masks.parsing import parse_strings
from cellseg_mmdet.structures import ImageRecord


@dataclass
class _ImageRows:
    """The rows of one image."""

    image_id: str
    path: Path | None
    rows: list[CsvRow] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        return [row[name] for row in self.rows]


def read_sartorius(
    csv_path: str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    *,
    cleaning: Cleaning | None = None,
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Read ``train.csv`` and compare every image file's size with it; images in order of their first row.

    ``sample_id``, where it is filled in, becomes the group of an image. Other columns may be empty or missing.

    Raises:
        DataSetError: for rows that cannot be used (see `Rejected`), unless ``on_error`` is 'skip'.
        ValueError: if required columns are missing, or the file has no row.
    """
    images, rejected = _gather_rows(Path(csv_path), files_by_stem(images_dir))
    convert = partial(
        _convert_image,
        source=str(csv_path),
        images_dir=str(images_dir),
        cleaning=cleaning or Cleaning(),
    )
    return convert_images(convert, images, rejected=rejected, on_error=on_error, workers=workers)


def _gather_rows(
    csv_path: Path, image_paths: dict[str, Path]
) -> tuple[list[_ImageRows], list[Rejected]]:
    images: dict[str, _ImageRows] = {}
    rejected: list[Rejected] = []
    table = read_table(csv_path, TRAIN_CSV_COLUMNS)
    for row in table.rows("id", lambda fault: rejected.append(Rejected(str(csv_path), *fault))):
        image_id = row["id"].strip()
        if image_id not in images:
            images[image_id] = _ImageRows(image_id, image_paths.get(image_id))
        images[image_id].rows.append(row)
    return list(images.values()), rejected


def _convert_image(
    image: _ImageRows, *, source: str, images_dir: str, cleaning: Cleaning
) -> Converted:
    def reject(index: int, cause: str) -> Rejected:
        row = image.rows[index]
        return Rejected(source, row.number, image.image_id, cause, row.content)

    try:
        if image.path is None:
            raise FileNotFoundError(f"no image file {image.image_id} in {images_dir}")
        height, width = image_size_hw(image.path)
    except (OSError, CellsegError) as error:
        return Converted(rejected=[reject(index, str(error)) for index in range(len(image.rows))])

    cell_types = [name.strip() for name in image.column("cell_type")]
    faults: dict[int, str] = {}
    fault_of_size = functools.cache(partial(size_fault, height=height, width=width))
    sizes = zip(image.column("height"), image.column("width"), strict=True)
    for index, written_hw in enumerate(sizes):
        fault = fault_of_size(written_hw)
        if fault or not cell_types[index]:
            faults[index] = fault or "cell_type is empty"
    annotations = image.column("annotation")
    good = [index for index in range(len(image.rows)) if index not in faults]
    texts = [annotations[index] for index in good]
    masks, malformed = parse_strings(texts, height, width, order="row", clip=cleaning.clip)
    faults |= {good[index]: cause for index, cause in malformed.items()}
    good = [index for index in good if index not in faults]
    rejected = [reject(index, faults[index]) for index in sorted(faults)]
    if not good:
        return Converted(rejected=rejected)

    categories = tuple(cell_types[index] for index in good)
    samples = image.column("sample_id") if "sample_id" in image.rows[0].columns else []
    record = ImageRecord(
        file_name=image.path.name,
        height=height,
        width=width,
        masks=masks,
        categories=categories,
        cell_type=Counter(categories).most_common(1)[0][0],
        group=next((sample.strip() for sample in samples if sample.strip()), None),
    )
    rows = [Row(image.rows[index].number, image.rows[index].content) for index in good]
    converted = finish_image(record, rows, cleaning, source=source, image_id=image.image_id)
    converted.rejected = rejected + converted.rejected
    if cleaning.clip:
        passing = sum(passes_end(annotations[index], height * width) for index in good)
        converted.cleaned["clip"] = passing
    return converted


@READERS.register("sartorius")
class SartoriusReader:
    """Convert the Sartorius competition's train.csv to COCO or MMDetection annotations, with folds."""

    output = "folds"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--csv", required=True, help="train.csv of the competition")
        parser.add_argument("--images", required=True, help="folder of the training images")

    def read(self, args: Namespace) -> Converted:
        converted = read_sartorius(args.csv, args.images, **shared_options(args))
        converted.source = args.csv
        return converted
