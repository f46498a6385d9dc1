"""Lists of mmdet 2.x: a pickled list of ``filename, width, height, ann{bboxes, labels, masks}``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks.polygons import segmentations_to_runs
from cellseg_mmdet.safe_pickle import load_pickle
from cellseg_mmdet.structures import ImageRecord


def load_mmdet_v2(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the entries of a list, one for each image.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if the file is damaged or has another layout.
    """
    entries = load_pickle(path)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and "ann" in entry for entry in entries
    ):
        raise DataError(
            f"{path} is no annotation list of mmdet 2.x (a list of dicts with 'filename' and 'ann')"
        )
    return entries


def parse_mmdet_v2(entry: Mapping[str, Any], classes: Sequence[str]) -> ImageRecord:
    """Read one entry; ``ann`` may be empty, masks are COCO RLEs or polygons, boxes are taken from the masks.

    Args:
        entry: of `load_mmdet_v2`.
        classes: class names in the order of the labels, which such a file does not hold.

    Raises:
        DataError: if something is missing, malformed, or not of the classes.
    """
    try:
        height, width = int(entry["height"]), int(entry["width"])
        masks = segmentations_to_runs(entry["ann"].get("masks", []), height, width)
        labels = [int(label) for label in entry["ann"].get("labels", [])]
    except KeyError as error:
        raise DataError(f"entry has no {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"entry is malformed: {error}") from error
    if len(labels) != len(masks):
        raise DataError(f"{len(masks)} masks but {len(labels)} labels")
    outside = [label for label in labels if not 0 <= label < len(classes)]
    if outside:
        raise DataError(
            f"label {outside[0]}, but only {len(classes)} class names were given: {list(classes)}"
        )
    return ImageRecord(
        str(entry.get("filename", "")),
        height,
        width,
        masks,
        tuple(classes[label] for label in labels),
    )
