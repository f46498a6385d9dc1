"""Lists of mmdet 2.x: a pickled list of ``filename, width, height, ann{bboxes, labels, masks}``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError, shown
from cellseg_mmdet.fields import required, size_hw, text, whole
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
    if not entries:
        raise DataError(f"{path}: holds no image")
    return entries


def parse_mmdet_v2(entry: Mapping[str, Any], classes: Sequence[str]) -> ImageRecord:
    """Read one entry; ``ann`` may be empty, masks are COCO RLEs or polygons, boxes are taken from the masks.

    Args:
        entry: of `load_mmdet_v2`.
        classes: class names in the order of the labels, which such a file does not hold.

    Raises:
        DataError: if something is missing, malformed, or not of the classes.
    """
    file_name = text(required(entry, "filename"), "filename")
    height, width = size_hw(entry)
    masks, labels = _cells_of(entry["ann"])
    if len(labels) != len(masks):
        raise DataError(f"{len(masks)} masks but {len(labels)} labels")
    outside = [label for label in labels if not 0 <= label < len(classes)]
    if outside:
        raise DataError(
            f"label {outside[0]}, but only {len(classes)} class names were given: {list(classes)}"
        )
    return ImageRecord(
        file_name,
        height,
        width,
        segmentations_to_runs(masks, height, width),
        tuple(classes[label] for label in labels),
    )


def _cells_of(ann: Any) -> tuple[list[Any], list[int]]:
    """Return the masks and labels of an image; it may have neither."""
    if not isinstance(ann, Mapping):
        raise DataError(f"ann is {shown(ann)}, not an object")
    if ann and not ann.keys() & {"bboxes", "labels", "masks"}:
        raise DataError(f"ann has neither 'bboxes' nor 'labels' nor 'masks': {shown(dict(ann))}")
    masks, labels = (_listed(ann.get(key, []), key) for key in ("masks", "labels"))
    return masks, [whole(label, "a label") for label in labels]


def _listed(value: Any, name: str) -> list[Any]:
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return list(value)
    raise DataError(f"{name} are {shown(value)}; they must be a list")
