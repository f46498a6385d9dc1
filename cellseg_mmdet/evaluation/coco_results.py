"""COCO results: a JSON list of found instances, such as our own ``predictions.json`` beside its ``images.json``.

A result names its image and its category by ids of another file: ``images.json`` in the same folder, else the
annotations that it is compared with.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellseg_mmdet.annotations.coco import categories_of
from cellseg_mmdet.annotations.faults import Faults, OnError
from cellseg_mmdet.annotations.layout import as_object, entries_of, image_of, with_text_counts
from cellseg_mmdet.annotations.validate import Checked
from cellseg_mmdet.errors import shown
from cellseg_mmdet.fields import (
    FieldError,
    Identifier,
    box,
    identifier,
    is_number,
    optional_text,
    required,
)
from cellseg_mmdet.fileio import load_json
from cellseg_mmdet.masks.parsing import parse_masks
from cellseg_mmdet.masks.polygons import segmentations_to_runs
from cellseg_mmdet.structures import ImagePrediction

# Where our own results keep the images that they are of.
IMAGES_FILE = "images.json"


class ImageEntry(NamedTuple):
    """An image that results refer to: its path in its file, (height, width) in pixels, and the name that it goes by."""

    path: str
    size_hw: tuple[int, int]
    name: str


@dataclass(frozen=True)
class CocoIndex:
    """What the ids of results mean.

    Attributes:
        source: the file that says so.
        images: by id.
        categories: ids of the classes, in the order of the labels.
        classes: their names.
    """

    source: str
    images: Mapping[Identifier, ImageEntry]
    categories: Sequence[Identifier]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, checked: Checked, source: str) -> CocoIndex:
        """Return what the ids of an annotation file mean."""
        images = {
            image["img_id"]: _entry_of(image, Path(image["img_path"]).stem)
            for image in checked.images
        }
        return cls(source, images, checked.category_ids, checked.classes)


class Result(NamedTuple):
    """A found instance: what messages call it, its label, score, box (x1, y1, x2, y2) or None, and its mask."""

    entry: str
    category: Identifier
    score: float
    box_xyxy: list[float] | None
    mask: Any


def index_beside(path: str | os.PathLike[str]) -> CocoIndex | None:
    """Return what ``images.json`` in the folder of the results says; None if there is none.

    Raises:
        DataError: it is damaged.
    """
    beside = Path(path).parent / IMAGES_FILE
    return _read_index(beside) if beside.is_file() else None


def _read_index(path: Path) -> CocoIndex:
    faults = Faults(str(path))
    content = load_json(path)
    parts = [
        entries_of(content.get(part) if isinstance(content, dict) else None, part, faults)
        for part in ("images", "categories")
    ]
    classes, label_of = categories_of(parts[1], faults)
    images: dict[Identifier, ImageEntry] = {}
    names: set[str] = set()
    for number, entry in enumerate(parts[0], start=1):
        with faults.of(f"images, entry {number}"):
            image = as_object(entry)
            key = identifier(required(image, "id"), "id")
            found = image_of(image, "file_name")
            # Our own writer's; without it the file's name is all there is.
            name = optional_text(image.get("name"), "name") or Path(found["img_path"]).stem
            if key in images or name in names:
                raise FieldError(
                    "image listed twice",
                    f"another image has the id {shown(key)} or the name {shown(name)} as well",
                )
            images[key] = _entry_of(found, name)
            names.add(name)
    faults.settle("stop")
    return CocoIndex(str(path), images, list(label_of), classes)


def _entry_of(image: Mapping[str, Any], name: str) -> ImageEntry:
    return ImageEntry(image["img_path"], (image["height"], image["width"]), name)


def parse_results(content: Sequence[Any], faults: Faults) -> dict[Identifier, list[Result]]:
    """Return the results of each image, by its id; entries that cannot be used become faults."""
    results: dict[Identifier, list[Result]] = defaultdict(list)
    for number, entry in enumerate(content, start=1):
        name = f"result {number}"
        try:
            row = as_object(entry)
            image_id = identifier(required(row, "image_id"), "image_id")
            results[image_id].append(_result(row, name))
        except FieldError as error:
            faults.add(name, error.reason, str(error))
    return results


def to_predictions(
    results: Mapping[Identifier, Sequence[Result]], index: CocoIndex | None, faults: Faults
) -> list[ImagePrediction]:
    """Return predictions of the images of ``index``, also of those without results.

    Args:
        results: of each image.
        index: what their ids mean; None where they are names of images, whose sizes the masks tell.
        faults: to add to: results of images or categories that there are not, and masks that cannot be read.

    Raises:
        DataError: the ids are numbers and there is no index.
    """
    index = index or _index_of_names(results, faults)
    named = {image.name: key for key, image in index.images.items()}
    label_of = {key: label for label, key in enumerate(index.categories)}
    of_image: dict[Identifier, list[Result]] = {key: [] for key in index.images}
    for image_id, rows in results.items():
        # Results without ids of images have their names.
        key = image_id if image_id in of_image else named.get(str(image_id))
        for row in rows:
            if key is None:
                cause = (
                    f"image_id is {shown(image_id)}, which is not among the {len(of_image)} images "
                    f"of {index.source}"
                )
                faults.add(row.entry, "image_id that is not there", cause)
            elif row.category not in label_of:
                known = shown(list(label_of))
                cause = f"category_id is {shown(row.category)}; those of {index.source} are {known}"
                faults.add(row.entry, "category_id that is not there", cause)
            else:
                of_image[key].append(row)
    return [
        _prediction(key, index.images[key], rows, label_of, faults)
        for key, rows in of_image.items()
    ]


def _result(row: Mapping[str, Any], name: str) -> Result:
    category = identifier(required(row, "category_id"), "category_id")
    score = required(row, "score")
    if not is_number(score) or not -1e9 <= score <= 1e9:
        raise FieldError("score is no number", f"score is {shown(score)}; it must be a number")
    mask = row.get("segmentation")
    if mask is None or mask == []:
        raise FieldError(
            "no mask", "has no segmentation: results of boxes cannot be scored as cells"
        )
    box_xyxy = None
    if row.get("bbox") is not None:
        x, y, width, height = box(row["bbox"], "bbox", "[x, y, width, height] in pixels")
        if width < 0 or height < 0:
            raise FieldError(
                "negative box",
                f"bbox is {shown(row['bbox'])}; width and height must not be negative",
            )
        box_xyxy = [x, y, x + width, y + height]
    return Result(name, category, float(score), box_xyxy, with_text_counts(mask))


def _index_of_names(results: Mapping[Identifier, Sequence[Result]], faults: Faults) -> CocoIndex:
    images: dict[Identifier, ImageEntry] = {}
    for image_id, rows in results.items():
        sizes = {
            tuple(row.mask["size"])
            for row in rows
            if isinstance(row.mask, dict) and _is_size(row.mask.get("size"))
        }
        if not isinstance(image_id, str) or len(sizes) != 1:
            raise faults.whole_file(
                f"image_id {shown(image_id)} does not say which image that is, and of which size: put the file of "
                f"the images as {IMAGES_FILE} beside it, or compare it with COCO annotations that have this id"
            )
        images[image_id] = ImageEntry(f"{image_id}.png", sizes.pop(), image_id)
    categories = sorted({row.category for rows in results.values() for row in rows}, key=str)
    return CocoIndex(faults.source, images, categories, tuple(map(str, categories)))


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side < 2**16 for side in size)
    )


def _prediction(
    key: Identifier,
    image: ImageEntry,
    rows: Sequence[Result],
    label_of: Mapping[Identifier, int],
    faults: Faults,
) -> ImagePrediction:
    height, width = image.size_hw
    parse = partial(segmentations_to_runs, height=height, width=width)
    masks, causes = parse_masks(parse, [row.mask for row in rows])
    for number, cause in causes.items():
        faults.add(rows[number].entry, "mask that cannot be read", f"its mask: {cause}", image.path)
    kept = [row for number, row in enumerate(rows) if number not in causes]
    boxes = masks.boxes.astype(np.float64)
    for number, row in enumerate(kept):
        if row.box_xyxy is not None:
            boxes[number] = row.box_xyxy
    return ImagePrediction(
        image_id=image.name,
        img_path=image.path,
        img_id=key,
        height=height,
        width=width,
        boxes=boxes,
        scores=np.array([row.score for row in kept], dtype=np.float64),
        labels=np.array([label_of[row.category] for row in kept], dtype=np.int64),
        masks=masks,
    )


def read_results(
    content: Sequence[Any],
    source: str,
    index: CocoIndex | None,
    on_error: OnError = "stop",
) -> tuple[list[ImagePrediction], list[str]]:
    """Return the predictions of results, and what the log should say.

    Raises:
        AnnotationError: there are entries that cannot be used, and ``on_error`` is 'stop'.
        DataError: nothing says which images these are.
    """
    faults = Faults(source)
    found = to_predictions(parse_results(content, faults), index, faults)
    return found, faults.settle(on_error)
