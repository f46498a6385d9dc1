"""MMDetection 3.x pickles: a dict of ``metainfo`` and ``data_list``."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations.layout import (
    LAYOUTS,
    Parsed,
    check_entries,
    image_fields,
    with_text_counts,
)
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.safe_pickle import load_pickle
from cellseg_mmdet.structures import ImageRecord

_IMAGE_KEYS = ("img_path", "height", "width", "instances")


@LAYOUTS.register("mmdet")
class MMDetLayout:
    """https://mmdetection.readthedocs.io/en/latest/advanced_guides/customize_dataset.html; masks are COCO RLEs."""

    title = "MMDetection"
    suffixes = (".pkl", ".pickle")

    def load(self, path: str | os.PathLike[str]) -> Any:
        return load_pickle(path)

    def parse(self, content: Any, source: str) -> Parsed:
        """Return the class names and the images of a loaded mmdet 3.x annotation pickle.

        Raises:
            DataError: the layout is another one, or a label is not that of a class.
        """
        if isinstance(content, list):
            raise DataError(
                f"{source}: a list is the layout of mmdet 2.x; "
                "turn it into 3.x with cellseg convert mmdet-pickle --from-v2"
            )
        if (
            not isinstance(content, dict)
            or "data_list" not in content
            or "classes" not in content.get("metainfo", {})
        ):
            raise DataError(
                f"{source}: not mmdet 3.x annotations, which are a dict with 'metainfo' (with 'classes') "
                "and 'data_list'"
            )
        classes = tuple(content["metainfo"]["classes"])
        check_entries(content["data_list"], _IMAGE_KEYS, source, "data_list", name="img_path")
        images = []
        for number, image in enumerate(content["data_list"]):
            instances = []
            where = f"{source}: image {image['img_path']}"
            check_entries(image["instances"], ("bbox", "bbox_label"), where, "instances")
            for instance in image["instances"]:
                if not 0 <= instance["bbox_label"] < len(classes):
                    raise DataError(
                        f"{where} has an instance with bbox_label "
                        f"{instance['bbox_label']}, allowed are 0 to {len(classes) - 1}"
                    )
                instance = dict(instance, ignore_flag=int(instance.get("ignore_flag", 0)))
                if "mask" in instance:
                    instance["mask"] = with_text_counts(instance["mask"])
                instances.append(instance)
            images.append(
                dict(
                    image,
                    img_id=image.get("img_id", number + 1),
                    cell_type=image.get("cell_type"),
                    group=image.get("group"),
                    instances=instances,
                )
            )
        return Parsed(classes, images)

    def write(
        self,
        parts: Mapping[Path, Sequence[int]],
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        info: dict[str, Any],
    ) -> None:
        """Write several files, one after the other."""
        for path, indices in parts.items():
            content = {
                "metainfo": {"classes": tuple(classes), "info": info},
                "data_list": [
                    _image(records[index], index + 1, classes) for index in sorted(indices)
                ],
            }
            with path.open("wb") as file:
                pickle.dump(content, file, protocol=4)


def _image(record: ImageRecord, image_id: int, classes: Sequence[str]) -> dict[str, Any]:
    rows = zip(record.masks.to_coco(), record.masks.boxes.tolist(), record.categories, strict=True)
    instances = [
        {"bbox": box, "bbox_label": classes.index(name), "mask": rle, "ignore_flag": 0}
        for rle, box, name in rows
    ]
    image = {"img_path": record.file_name, "img_id": image_id} | image_fields(record)
    return image | {"instances": instances}
