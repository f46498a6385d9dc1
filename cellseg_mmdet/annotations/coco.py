"""COCO json, with RLE or polygons."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cellseg_mmdet.annotations.faults import Faults
from cellseg_mmdet.annotations.layout import (
    LAYOUTS,
    Parsed,
    as_object,
    entries_of,
    image_fields,
    image_of,
    listed,
    with_text_counts,
)
from cellseg_mmdet.errors import shown
from cellseg_mmdet.fields import FieldError, Identifier, box, flag, identifier, required, text
from cellseg_mmdet.fileio import load_json
from cellseg_mmdet.masks.boxes import to_xywh
from cellseg_mmdet.structures import ImageRecord

_PARTS = ("images", "annotations", "categories")


@LAYOUTS.register("coco")
class CocoLayout:
    """https://cocodataset.org/#format-data; masks are written as RLE."""

    title = "COCO"
    suffixes = (".json",)

    def load(self, path: str | os.PathLike[str]) -> Any:
        return load_json(path)

    def parse(self, content: Any, faults: Faults) -> Parsed:
        """Return the class names in order of category id, and the images.

        Annotations with ``ignore`` set are left out, as mmdet does; ``iscrowd`` becomes ``ignore_flag``.

        Raises:
            DataError: a part is missing, or the categories cannot be told apart.
        """
        found = content if isinstance(content, dict) else {}
        missing = [part for part in _PARTS if part not in found]
        if missing:
            raise faults.whole_file(
                f"no {listed(missing)}; a COCO annotation file has the lists {', '.join(_PARTS)}"
            )
        entries = {part: entries_of(found[part], part, faults) for part in _PARTS}
        classes, label_of = categories_of(entries["categories"], faults)
        images, refused = _images(entries["images"], faults)
        for number, annotation in enumerate(entries["annotations"], start=1):
            try:
                _add_instance(annotation, number, images, refused, label_of, faults)
            except FieldError as error:
                faults.add(_name_of(annotation, number), error.reason, str(error))
        twice = _repeated(entries["annotations"])
        if twice:
            faults.notes.append(
                f"annotations with an id of another one: {twice}; they are read all the same, but pycocotools would not"
            )
        return Parsed(classes, list(images.values()), tuple(label_of), len(entries["annotations"]))

    def write(
        self,
        parts: Mapping[Path, Sequence[int]],
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        infos: Mapping[Path, dict[str, Any]],
    ) -> None:
        """Write several files, image by image: a million annotations as Python objects take gigabytes."""
        category_id = {name: index for index, name in enumerate(classes, start=1)}
        categories = [
            {"id": index, "name": name, "supercategory": "cell"}
            for name, index in category_id.items()
        ]
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
            for path, file in zip(parts, files, strict=True):
                head = {"info": infos[path], "licenses": [], "categories": categories}
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


def categories_of(
    entries: list[Any], faults: Faults
) -> tuple[tuple[str, ...], dict[Identifier, int]]:
    """Return the class names in order of their ids, and the label of each id.

    Raises:
        DataError: an entry cannot be used, or two share an id or a name.
    """
    by_id: dict[Identifier, str] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            category = as_object(entry)
            key = identifier(required(category, "id"), "id")
            name = text(required(category, "name"), "name")
        except FieldError as error:
            raise faults.whole_file(f"categories, entry {number}: {error}") from None
        if key in by_id or name in by_id.values():
            raise faults.whole_file(
                f"categories, entry {number}: id {shown(key)} and name {name!r}, one of which another category has"
            )
        by_id[key] = name
    if len({type(key) for key in by_id}) > 1:
        raise faults.whole_file(
            f"categories have ids that are numbers and ids that are text: {shown(list(by_id))}; write all as numbers"
        )
    ids = sorted(by_id)
    return tuple(by_id[key] for key in ids), {key: label for label, key in enumerate(ids)}


def _images(
    entries: list[Any], faults: Faults
) -> tuple[dict[Identifier, dict[str, Any]], set[Identifier]]:
    """Return the images by id, and the ids of those that cannot be used."""
    images: dict[Identifier, dict[str, Any]] = {}
    refused: set[Identifier] = set()
    names: dict[str, Identifier] = {}
    for number, entry in enumerate(entries, start=1):
        where, key = f"images, entry {number}", None
        try:
            image = as_object(entry)
            key = identifier(required(image, "id"), "id")
            where += f" (id {shown(key).rpartition(' ')[0]})"
            parsed = image_of(image, "file_name")
            if key in images:
                raise FieldError("image id twice", f"several images have the id {shown(key)}")
            name = parsed["img_path"]
            if name in names:
                raise FieldError(
                    "image listed twice", f"{name} is that of image {shown(names[name])} as well"
                )
        except FieldError as error:
            faults.add(where, error.reason, str(error))
            if key is not None and key not in images:
                refused.add(key)
            continue
        names[name] = key
        images[key] = {"img_id": key} | parsed | {"instances": []}
    return images, refused


def _add_instance(
    entry: Any,
    number: int,
    images: Mapping[Identifier, dict[str, Any]],
    refused: Collection[Identifier],
    label_of: Mapping[Identifier, int],
    faults: Faults,
) -> None:
    """Append an annotation to the instances of its image."""
    annotation = as_object(entry)
    image_id = _known(annotation, "image_id", images.keys() | refused if refused else images.keys())
    label = label_of[_known(annotation, "category_id", label_of.keys())]
    x, y, width, height = box(
        required(annotation, "bbox"), "bbox", "[x, y, width, height] in pixels"
    )
    if width < 0 or height < 0:
        raise FieldError(
            "bbox is no box",
            f"bbox is {shown(annotation['bbox'])}; width and height must not be negative",
        )
    is_ignored = flag(annotation.get("iscrowd"), "iscrowd")
    if flag(annotation.get("ignore"), "ignore"):
        faults.left_out["with ignore set"] += 1
    elif image_id in refused:
        faults.left_out["of an image that cannot be used"] += 1
    else:
        instance = {
            "bbox": [x, y, x + width, y + height],
            "bbox_label": label,
            "ignore_flag": int(is_ignored),
            "entry": _name_of(annotation, number),
        }
        if annotation.get("segmentation") is not None:
            instance["mask"] = with_text_counts(annotation["segmentation"])
        images[image_id]["instances"].append(instance)


def _known(annotation: Mapping[str, Any], key: str, known: Collection[Identifier]) -> Identifier:
    """Return the id that ``key`` has, which must be one of ``known``."""
    found = identifier(required(annotation, key), key)
    if found in known:
        return found
    part = "images" if key == "image_id" else "categories"
    other: Identifier | None = str(found)
    if isinstance(found, str):
        other = int(found) if found.isdecimal() and len(found) < 19 else None
    if other in known:
        raise FieldError(
            f"{key} of another type",
            f"{key} is {shown(found)}, but the file's {part} have {shown(other)}: write both the same way",
        )
    some = ", ".join(shown(one).rpartition(" ")[0] for one in list(known)[:5])
    raise FieldError(
        f"{key} that is not there",
        f"{key} is {shown(found)}, which is not among the file's {len(known)} {part} ({some or 'none'})",
    )


def _name_of(annotation: Any, number: int) -> str:
    """Return what messages call an annotation."""
    key = annotation.get("id") if isinstance(annotation, Mapping) else None
    is_short = type(key) is int or (isinstance(key, str) and len(key) <= 40)
    return f"annotation {key}" if is_short else f"annotations, entry {number}"


def _repeated(annotations: list[Any]) -> int:
    """Return how many annotations have the id of an earlier one."""
    ids = [entry.get("id") for entry in annotations if isinstance(entry, Mapping)]
    known = [key for key in ids if type(key) in (int, str)]
    return len(known) - len(set(known))
