"""The Sartorius competition's ``train.csv``: one row per cell, row-major run-length strings, images beside it."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cellseg_mmdet.annotations.cell_csv import TRAIN_CSV_COLUMNS
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
    """The rows of one image, column by column."""

    image_id: str
    path: Path | None
    rows: list[Row] = field(default_factory=list)
    annotations: list[str] = field(default_factory=list)
    sizes: list[tuple[str, str]] = field(default_factory=list)  # (height, width) as written
    cell_types: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)


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
    for number, values, content in table.rows(
        "id", lambda fault: rejected.append(Rejected(str(csv_path), *fault))
    ):
        image_id = values["id"].strip()
        rows = images.setdefault(image_id, _ImageRows(image_id, image_paths.get(image_id)))
        rows.rows.append(Row(number, content))
        rows.annotations.append(values["annotation"])
        rows.sizes.append((values["height"], values["width"]))
        rows.cell_types.append(values["cell_type"].strip())
        rows.samples.append(values.get("sample_id", "").strip())
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

    faults: dict[int, str] = {}
    for index in range(len(image.rows)):
        fault = _fault_of_row(image, index, height, width)
        if fault:
            faults[index] = fault
    good = [index for index in range(len(image.rows)) if index not in faults]
    texts = [image.annotations[index] for index in good]
    masks, malformed = parse_strings(texts, height, width, order="row", clip=cleaning.clip)
    faults |= {good[index]: cause for index, cause in malformed.items()}
    good = [index for index in good if index not in faults]
    rejected = [reject(index, faults[index]) for index in sorted(faults)]
    if not good:
        return Converted(rejected=rejected)

    cell_types = tuple(image.cell_types[index] for index in good)
    record = ImageRecord(
        file_name=image.path.name,
        height=height,
        width=width,
        masks=masks,
        categories=cell_types,
        cell_type=Counter(cell_types).most_common(1)[0][0],
        group=next((sample for sample in image.samples if sample), None),
    )
    rows = [image.rows[index] for index in good]
    converted = finish_image(record, rows, cleaning, source=source, image_id=image.image_id)
    converted.rejected = rejected + converted.rejected
    if cleaning.clip:
        passing = sum(passes_end(image.annotations[index], height * width) for index in good)
        converted.cleaned["clip"] = passing
    return converted


def _fault_of_row(image: _ImageRows, index: int, height: int, width: int) -> str | None:
    fault = size_fault(image.sizes[index], height, width)
    return fault or (None if image.cell_types[index] else "cell_type is empty")


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
