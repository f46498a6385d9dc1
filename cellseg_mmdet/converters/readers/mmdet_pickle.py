"""The annotation layout of mmdet 2.x: a pickled list of ``filename, width, height, ann{bboxes, labels, masks}``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations.files import to_records
from cellseg_mmdet.annotations.mmdet_v2 import load_mmdet_v2, parse_mmdet_v2
from cellseg_mmdet.annotations.validate import Checked, read_checked
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.pipeline import Converted, Row, convert_images, finish_image
from cellseg_mmdet.converters.reader import READERS, shared_options
from cellseg_mmdet.converters.rejects import OnError, Rejected
from cellseg_mmdet.errors import DataError, UsageError, shown


def read_mmdet_v2(
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] = ("cell",),
    cleaning: Cleaning | None = None,
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Read a list of mmdet 2.x; ``ann`` may be empty, masks are COCO RLEs or polygons, boxes are taken from the masks.

    Args:
        path: the pickle.
        classes: class names in the order of the labels, which such a file does not hold.
        cleaning: cleaning steps.
        on_error: 'stop' or 'skip', as in `convert_images`.
        workers: processes; by default one per core.

    Raises:
        DataError: if the file has another layout.
        DataSetError: for images that cannot be used, unless ``on_error`` is 'skip'.
    """
    entries, twice = _each_once(load_mmdet_v2(path), str(path))
    convert = partial(
        _convert_entry, source=str(path), classes=tuple(classes), cleaning=cleaning or Cleaning()
    )
    return convert_images(convert, entries, rejected=twice, on_error=on_error, workers=workers)


def _each_once(
    entries: Sequence[dict[str, Any]], source: str
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Return the entries without those of an image that an earlier one is of, and these."""
    first: dict[str, int] = {}
    kept, twice = [], []
    for number, entry in enumerate(entries, start=1):
        name = entry.get("filename")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            cause = f"entry {number} is of the same image as entry {first[name]}"
            twice.append(Rejected(source, None, Path(name).stem, cause))
        else:
            kept.append(entry)
    return kept, twice


def _convert_entry(
    entry: dict[str, Any], *, source: str, classes: tuple[str, ...], cleaning: Cleaning
) -> Converted:
    name = entry.get("filename")
    image_id = Path(name).stem if isinstance(name, str) else shown(name)
    try:
        record = parse_mmdet_v2(entry, classes)
    except DataError as error:
        return Converted(rejected=[Rejected(source, None, image_id, str(error))])
    return finish_image(
        record, [Row()] * len(record.masks), cleaning, source=source, image_id=image_id
    )


def rejected_of(checked: Checked, source: str) -> list[Rejected]:
    """Return the entries of an annotation file that were left out, as rows of rejected.csv."""
    return [
        Rejected(source, None, Path(fault.image).stem, f"{fault.entry}: {fault.cause}")
        for fault in checked.faults
    ]


@READERS.register("mmdet-pickle")
class MMDetPickleReader:
    """Convert between annotation layouts: mmdet 2.x lists (--from-v2), MMDetection 3.x pickles and COCO json."""

    output = "file"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("annotations", help="annotation file to read")
        parser.add_argument(
            "--from-v2", action="store_true", help="the file is a list as mmdet 2.x reads it"
        )
        parser.add_argument(
            "--classes",
            nargs="+",
            default=["cell"],
            help="with --from-v2: class names in the order of the labels",
        )

    def read(self, args: Namespace) -> Converted:
        shared = shared_options(args)
        if args.from_v2:
            converted = read_mmdet_v2(args.annotations, classes=args.classes, **shared)
            converted.categories = tuple(args.classes)
        elif shared["cleaning"].active():
            raise UsageError(
                "--clean needs --from-v2: the other layouts are cleaned when they are made from raw data"
            )
        else:
            checked = read_checked(args.annotations, on_error=args.on_error)
            print(*checked.said, sep="\n", end="\n" if checked.said else "")
            converted = Converted(to_records(checked), rejected_of(checked, args.annotations))
            converted.categories = checked.classes
        converted.source = args.annotations
        return converted
