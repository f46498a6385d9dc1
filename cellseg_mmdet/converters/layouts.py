"""The two layouts of annotation files, COCO and MMDetection 3.x, parsed into the same thing.

That is the class names, and a list of images, each a dict with

- ``img_id``, ``img_path`` (relative to the image folder), ``height``, ``width`` in pixels,
- ``cell_type`` and ``group`` (None where unknown),
- ``instances``: dicts with ``bbox`` (xyxy in pixels), ``bbox_label`` (index into the classes),
  ``ignore_flag`` (0 or 1) and, where annotated, ``mask`` (COCO RLE or polygons, still encoded).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from cellseg_mmdet.errors import UsageError

# What each entry of a COCO file must have.
_COCO_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


def parse_coco(content: Any, source: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Return the class names in order of category id, and the images, of a loaded COCO annotation file.

    Annotations with ``ignore`` set are left out, as mmdet does; ``iscrowd`` becomes ``ignore_flag``.

    Raises:
        UsageError: a part is missing, two images share an id, or an annotation names an image or category that the
            file does not hold.
    """
    _check_coco(content, source)
    categories = sorted(content["categories"], key=lambda category: category["id"])
    label_of = {category["id"]: label for label, category in enumerate(categories)}
    annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        if annotation["category_id"] not in label_of:
            raise UsageError(
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
                _coco_instance(annotation, label_of)
                for annotation in annotations.pop(image["id"], ())
                if not annotation.get("ignore", False)
            ],
        }
        for image in content["images"]
    ]
    if annotations:
        orphans = next(iter(annotations.values()))
        raise UsageError(
            f"{source}: annotation {orphans[0].get('id')} belongs to image_id {orphans[0]['image_id']}, "
            "which is not among the file's images"
        )
    return tuple(category["name"] for category in categories), images


def _check_coco(content: Any, source: str) -> None:
    found = content if isinstance(content, dict) else {}
    missing = [part for part in _COCO_KEYS if not isinstance(found.get(part), list)]
    if missing:
        raise UsageError(
            f"{source}: no {_listed(missing)}; a COCO annotation file has the lists {', '.join(_COCO_KEYS)}"
        )
    for part, keys in _COCO_KEYS.items():
        for number, entry in enumerate(content[part], start=1):
            where = f"{source}: {part}, entry {number}"
            if not isinstance(entry, dict):
                raise UsageError(f"{where} is {type(entry).__name__}, not an object")
            missing = [key for key in keys if key not in entry]
            if missing:
                raise UsageError(f"{where} (id {entry.get('id')}): no {_listed(missing)}")
    ids = Counter(image["id"] for image in content["images"])
    twice = [image_id for image_id, count in ids.items() if count > 1]
    if twice:
        raise UsageError(f"{source}: several images have the id {twice[0]}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _coco_instance(annotation: dict[str, Any], label_of: dict[Any, int]) -> dict[str, Any]:
    x, y, width, height = annotation["bbox"]
    instance = {
        "bbox": [x, y, x + width, y + height],
        "bbox_label": label_of[annotation["category_id"]],
        "ignore_flag": int(annotation.get("iscrowd", 0)),
    }
    if "segmentation" in annotation:
        instance["mask"] = _with_text_counts(annotation["segmentation"])
    return instance


def parse_mmdet(content: Any, source: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Return the class names and the images of a loaded mmdet 3.x annotation pickle.

    Raises:
        UsageError: the layout is another one, or a label is not that of a class.
    """
    if isinstance(content, list):
        raise UsageError(
            f"{source}: a list is the layout of mmdet 2.x; "
            "turn it into 3.x with tools/dataset_converters/mmdet_pickle.py --from-v2"
        )
    if (
        not isinstance(content, dict)
        or "data_list" not in content
        or "classes" not in content.get("metainfo", {})
    ):
        raise UsageError(
            f"{source}: not mmdet 3.x annotations, which are a dict with 'metainfo' (with 'classes') and 'data_list'"
        )
    classes = tuple(content["metainfo"]["classes"])
    images = []
    for number, image in enumerate(content["data_list"]):
        instances = []
        for instance in image["instances"]:
            if not 0 <= instance["bbox_label"] < len(classes):
                raise UsageError(
                    f"{source}: image {image['img_path']} has an instance with bbox_label "
                    f"{instance['bbox_label']}, allowed are 0 to {len(classes) - 1}"
                )
            instance = dict(instance, ignore_flag=int(instance.get("ignore_flag", 0)))
            if "mask" in instance:
                instance["mask"] = _with_text_counts(instance["mask"])
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
    return classes, images


def _with_text_counts(mask: Any) -> Any:
    # mmdet's own LoadAnnotations takes compressed counts as str only: an instance with bytes is silently ignored.
    if isinstance(mask, dict) and isinstance(mask.get("counts"), bytes):
        return dict(mask, counts=mask["counts"].decode("ascii"))
    return mask
