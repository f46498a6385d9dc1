"""MMDetection 3.x pickles: a dict of ``metainfo`` and ``data_list``."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations.faults import Faults
from cellseg_mmdet.annotations.layout import (
    LAYOUTS,
    Parsed,
    as_object,
    entries_of,
    image_fields,
    image_of,
    with_text_counts,
)
from cellseg_mmdet.errors import shown
from cellseg_mmdet.fields import FieldError, box, flag, identifier, names, required, whole
from cellseg_mmdet.safe_pickle import load_pickle
from cellseg_mmdet.structures import ImageRecord


@LAYOUTS.register("mmdet")
class MMDetLayout:
    """https://mmdetection.readthedocs.io/en/latest/advanced_guides/customize_dataset.html; masks are COCO RLEs."""

    title = "MMDetection"
    suffixes = (".pkl", ".pickle")

    def load(self, path: str | os.PathLike[str]) -> Any:
        return load_pickle(path)

    def parse(self, content: Any, faults: Faults) -> Parsed:
        """Return the class names and the images of a loaded mmdet 3.x annotation pickle.

        Raises:
            DataError: the layout is another one, or the classes are none.
        """
        if isinstance(content, list):
            raise faults.whole_file(
                "a list is the layout of mmdet 2.x; "
                "turn it into 3.x with cellseg convert mmdet-pickle --from-v2"
            )
        metainfo = content.get("metainfo") if isinstance(content, dict) else None
        if (
            not isinstance(content, dict)
            or "data_list" not in content
            or not isinstance(metainfo, dict)
            or "classes" not in metainfo
        ):
            raise faults.whole_file(
                "not mmdet 3.x annotations, which are a dict with 'metainfo' (with 'classes') "
                "and 'data_list'"
            )
        try:
            classes = names(metainfo["classes"], "metainfo.classes")
        except FieldError as error:
            raise faults.whole_file(str(error)) from None
        images = []
        known: dict[str, int] = {}
        count = 0
        for number, entry in enumerate(entries_of(content["data_list"], "data_list", faults), 1):
            where = f"data_list, entry {number}"
            try:
                image = _image(entry, number)
                name = image["img_path"]
                if known.setdefault(name, number) != number:
                    raise FieldError(
                        "image listed twice", f"{name} is that of entry {known[name]} as well"
                    )
            except FieldError as error:
                faults.add(where, error.reason, str(error))
                continue
            count += len(image["instances"])
            image["instances"] = _instances(image, len(classes), faults)
            images.append(image)
        return Parsed(classes, images, number=count)

    def write(
        self,
        parts: Mapping[Path, Sequence[int]],
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        infos: Mapping[Path, dict[str, Any]],
    ) -> None:
        """Write several files, one after the other."""
        for path, indices in parts.items():
            content = {
                "metainfo": {"classes": tuple(classes), "info": infos[path]},
                "data_list": [
                    _entry(records[index], index + 1, classes) for index in sorted(indices)
                ],
            }
            with path.open("wb") as file:
                pickle.dump(content, file, protocol=4)


def _image(entry: Any, number: int) -> dict[str, Any]:
    image = as_object(entry)
    parsed = image_of(image, "img_path")
    instances = required(image, "instances")
    if not isinstance(instances, list | tuple):
        raise FieldError(
            "no list of instances", f"instances are {shown(instances)}; they must be a list"
        )
    found = image.get("img_id")
    img_id = number if found is None else identifier(found, "img_id")
    return dict(image) | parsed | {"img_id": img_id}


def _instances(image: Mapping[str, Any], num_classes: int, faults: Faults) -> list[dict[str, Any]]:
    """Return the instances of an image that can be used."""
    found = []
    for number, entry in enumerate(image["instances"]):
        name = f"instance {number} of {image['img_path']}"
        try:
            found.append(_instance(as_object(entry), num_classes) | {"entry": name})
        except FieldError as error:
            faults.add(name, error.reason, str(error), image["img_path"])
    return found


def _instance(entry: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box(required(entry, "bbox"), "bbox", "[x1, y1, x2, y2] in pixels")
    if x2 < x1 or y2 < y1:
        raise FieldError(
            "bbox is no box",
            f"bbox is {shown(entry['bbox'])}; x2 must not be less than x1, nor y2 than y1",
        )
    label = whole(required(entry, "bbox_label"), "bbox_label")
    if label >= num_classes:
        raise FieldError(
            "bbox_label of no class",
            f"bbox_label {label}, allowed are 0 to {num_classes - 1}",
        )
    instance = dict(entry) | {
        "bbox": [x1, y1, x2, y2],
        "bbox_label": label,
        "ignore_flag": int(flag(entry.get("ignore_flag"), "ignore_flag")),
    }
    if entry.get("mask") is None:
        instance.pop("mask", None)
    else:
        instance["mask"] = with_text_counts(entry["mask"])
    return instance


def _entry(record: ImageRecord, image_id: int, classes: Sequence[str]) -> dict[str, Any]:
    """Return what is written of an image."""
    rows = zip(record.masks.to_coco(), record.masks.boxes.tolist(), record.categories, strict=True)
    instances = [
        {"bbox": box, "bbox_label": classes.index(name), "mask": rle, "ignore_flag": 0}
        for rle, box, name in rows
    ]
    image = {"img_path": record.file_name, "img_id": image_id} | image_fields(record)
    return image | {"instances": instances}
