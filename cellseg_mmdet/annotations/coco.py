"""COCO json, with RLE or polygons."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cellseg_mmdet.annotations.layout import (
    LAYOUTS,
    Parsed,
    check_entries,
    image_fields,
    listed,
    with_text_counts,
)
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import load_json
from cellseg_mmdet.masks.boxes import to_xywh
from cellseg_mmdet.structures import ImageRecord

# What each entry of a COCO file must have.
_COCO_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


@LAYOUTS.register("coco")
class CocoLayout:
    """https://cocodataset.org/#format-data; masks are written as RLE."""

    title = "COCO"
    suffixes = (".json",)

    def load(self, path: str | os.PathLike[str]) -> Any:
        return load_json(path)

    def parse(self, content: Any, source: str) -> Parsed:
        """Return the class names in order of category id, and the images.

        Annotations with ``ignore`` set are left out, as mmdet does; ``iscrowd`` becomes ``ignore_flag``.

        Raises:
            DataError: a part is missing, two images share an id, or an annotation names an image or category that the
                file does not hold.
        """
        _check_coco(content, source)
        categories = sorted(content["categories"], key=lambda category: category["id"])
        label_of = {category["id"]: label for label, category in enumerate(categories)}
        annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            if annotation["category_id"] not in label_of:
                raise DataError(
                    f"{source}: annotation {annotation.get('id')} has category_id {annotation['category_id']}, "
                    f"the file's categories are {sorted(label_of)}"
                )
            annotations[annotation["image_id"]].append(annotation)
        images = [
            {
                "img_id": image["id"],
                "img_path": image["file_name"],
                "height": image["height"],
                "width": image["width"],
                "cell_type": image.get("cell_type"),
                "group": image.get("group"),
                "instances": [
                    _instance(annotation, label_of, source)
                    for annotation in annotations.pop(image["id"], ())
                    if not annotation.get("ignore", False)
                ],
            }
            for image in content["images"]
        ]
        if annotations:
            orphans = next(iter(annotations.values()))
            raise DataError(
                f"{source}: annotation {orphans[0].get('id')} belongs to image_id {orphans[0]['image_id']}, "
                "which is not among the file's images"
            )
        return Parsed(tuple(category["name"] for category in categories), images)

    def write(
        self,
        parts: Mapping[Path, Sequence[int]],
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        info: dict[str, Any],
    ) -> None:
        """Write several files, image by image: a million annotations as Python objects take gigabytes."""
        category_id = {name: index for index, name in enumerate(classes, start=1)}
        categories = [
            {"id": index, "name": name, "supercategory": "cell"}
            for name, index in category_id.items()
        ]
        head = {"info": info, "licenses": [], "categories": categories}
        members: list[list[int]] = [[] for _ in records]
        for number, indices in enumerate(parts.values()):
            for index in indices:
                members[index].append(number)
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context(path.open("w", encoding="utf-8", buffering=1 << 20))
                for path in parts
            ]
            lists = [_JsonList(file) for file in files]
            for file in files:
                file.write(f'{_compact(head)[:-1]},"images":[')
            for image_id, record in enumerate(records, start=1):
                image = {"id": image_id, "file_name": record.file_name} | image_fields(record)
                text = _compact(image)
                for number in members[image_id - 1]:
                    lists[number].add(text)
            for file in files:
                file.write('],"annotations":[')
            lists = [_JsonList(file) for file in files]
            first_id = 1
            for image_id, record in enumerate(records, start=1):
                annotations = _annotations(record, image_id, first_id, category_id)
                first_id += len(annotations)
                text = _compact(annotations)[1:-1]
                for number in members[image_id - 1] if text else ():
                    lists[number].add(text)
            for file in files:
                file.write("]}")


class _JsonList:
    """The inside of a list in a JSON file, written piece by piece."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._separator = file, ""

    def add(self, text: str) -> None:
        self._file.write(self._separator)
        self._file.write(text)
        self._separator = ","


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def _annotations(
    record: ImageRecord, image_id: int, first_id: int, category_id: Mapping[str, int]
) -> list[dict[str, Any]]:
    rows = zip(
        record.masks.to_coco(text=True),
        record.masks.areas.tolist(),
        to_xywh(record.masks.boxes).tolist(),
        record.categories,
        strict=True,
    )
    return [
        {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": category_id[name],
            "segmentation": rle,
            "area": area,
            "bbox": box_xywh,
            "iscrowd": 0,
        }
        for annotation_id, (rle, area, box_xywh, name) in enumerate(rows, start=first_id)
    ]


def _check_coco(content: Any, source: str) -> None:
    found = content if isinstance(content, dict) else {}
    missing = [part for part in _COCO_KEYS if not isinstance(found.get(part), list)]
    if missing:
        raise DataError(
            f"{source}: no {listed(missing)}; a COCO annotation file has the lists {', '.join(_COCO_KEYS)}"
        )
    for part, keys in _COCO_KEYS.items():
        check_entries(content[part], keys, source, part)
    ids = Counter(image["id"] for image in content["images"])
    twice = [image_id for image_id, count in ids.items() if count > 1]
    if twice:
        raise DataError(f"{source}: several images have the id {twice[0]}")


def _instance(annotation: dict[str, Any], label_of: dict[Any, int], source: str) -> dict[str, Any]:
    try:
        x, y, width, height = annotation["bbox"]
    except (TypeError, ValueError):
        raise DataError(
            f"{source}: annotation {annotation.get('id')} has the bbox {annotation['bbox']!r}; "
            "it must be [x, y, width, height]"
        ) from None
    instance = {
        "bbox": [x, y, x + width, y + height],
        "bbox_label": label_of[annotation["category_id"]],
        "ignore_flag": int(annotation.get("iscrowd", 0)),
    }
    if "segmentation" in annotation:
        instance["mask"] = with_text_counts(annotation["segmentation"])
    return instance
