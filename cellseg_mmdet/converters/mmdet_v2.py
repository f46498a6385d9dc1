"""The annotation layout of mmdet 2.x: a pickled list of ``filename, width, height, ann{bboxes, labels, masks}``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cellseg_mmdet.converters.annotations import segmentations_to_runs
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.pipeline import Converted, Row, convert_images, finish_image
from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.converters.rejects import OnError, Rejected
from cellseg_mmdet.safe_pickle import load_pickle


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
        ValueError: if the file has another layout.
        DataSetError: for images that cannot be used, unless ``on_error`` is 'skip'.
    """
    entries = load_pickle(path)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and "ann" in entry for entry in entries
    ):
        raise ValueError(
            f"{path} is no annotation list of mmdet 2.x (a list of dicts with 'filename' and 'ann')"
        )
    convert = partial(
        _convert_entry, source=str(path), classes=tuple(classes), cleaning=cleaning or Cleaning()
    )
    return convert_images(convert, entries, on_error=on_error, workers=workers)


def _convert_entry(
    entry: dict[str, Any], *, source: str, classes: tuple[str, ...], cleaning: Cleaning
) -> Converted:
    file_name = str(entry.get("filename", ""))
    image_id = Path(file_name).stem
    try:
        height, width = int(entry["height"]), int(entry["width"])
        segmentations = entry["ann"].get("masks", [])
        masks = segmentations_to_runs(segmentations, height, width, where="masks")
        labels = [int(label) for label in entry["ann"].get("labels", [])]
        if len(labels) != len(masks):
            raise ValueError(f"{len(masks)} masks but {len(labels)} labels")
        outside = [label for label in labels if not 0 <= label < len(classes)]
        if outside:
            raise ValueError(
                f"label {outside[0]}, but only {len(classes)} class names were given: {list(classes)}"
            )
        record = ImageRecord(
            file_name, height, width, masks, tuple(classes[label] for label in labels)
        )
    except KeyError as error:
        return Converted(rejected=[Rejected(source, None, image_id, f"entry has no {error}")])
    except (ValueError, TypeError) as error:
        return Converted(rejected=[Rejected(source, None, image_id, str(error))])
    return finish_image(record, [Row()] * len(masks), cleaning, source=source, image_id=image_id)
