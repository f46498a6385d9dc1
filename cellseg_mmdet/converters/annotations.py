"""Annotation files: COCO json and MMDetection 3.x pickle, to and from `ImageRecord`."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from cellseg_mmdet import __version__
from cellseg_mmdet.converters.layouts import parse_coco, parse_mmdet
from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.fileio import atomic_write, sha256_of
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.safe_pickle import load_pickle

SUFFIXES = {"coco": ".json", "mmdet": ".pkl"}


def source_info(source: str | os.PathLike[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return what an annotation file records of its origin: source file and hash (of a file), version and options."""
    path = Path(source)
    info: dict[str, Any] = {
        "description": f"converted by cellseg_mmdet {__version__}",
        "source": path.name,
    }
    if path.is_file():
        info["source_sha256"] = sha256_of(path)
    return info | {"options": options}


def category_names(records: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Return the class names that occur, sorted: the order of category ids and labels."""
    return tuple(sorted({name for record in records for name in record.categories}))


# ---------------------------------------------------------------------------- writing


def write_annotations(
    path: str | os.PathLike[str],
    records: Sequence[ImageRecord],
    *,
    categories: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write records as COCO (``.json``) or MMDetection 3.x (``.pkl``, ``.pickle``), chosen by the name.

    Args:
        path: annotation file to write.
        records: the images; their ids are 1..N.
        categories: class names in the order of their ids; by default those that occur, sorted.
        info: origin of the data, see `source_info`.

    Raises:
        ValueError: for another suffix, or a category that is not among ``categories``.
    """
    write_annotation_parts(
        {Path(path): range(len(records))}, records, categories=categories, info=info
    )


def write_annotation_parts(
    parts: Mapping[Path, Sequence[int]],
    records: Sequence[ImageRecord],
    *,
    categories: Sequence[str] | None = None,
    info: dict[str, Any] | None = None,
) -> None:
    """Write several annotation files of one kind, each of some of the records (by index), such as folds.

    An image, and in COCO an annotation, has the same id in every file; classes are those of all records.

    Raises:
        ValueError: as `write_annotations`.
    """
    categories = category_names(records) if categories is None else tuple(categories)
    unknown = sorted(set(category_names(records)) - set(categories))
    if unknown:
        raise ValueError(f"categories {unknown} are not among {list(categories)}")
    build, select, save = _writer({path.suffix.lower() for path in parts}, parts)
    content = build(records, categories, info or {})
    for path, members in parts.items():
        with atomic_write(path) as temporary:
            save(select(content, {index + 1 for index in members}), temporary)


def _writer(suffixes: set[str], parts: Mapping[Path, Any]) -> tuple[Callable[..., Any], ...]:
    if suffixes <= {".json"}:
        return _to_coco, _select_coco, _save_json
    if suffixes <= {".pkl", ".pickle"}:
        return _to_mmdet, _select_mmdet, _save_pickle
    names = ", ".join(str(path) for path in parts)
    raise ValueError(
        f"{names}: annotation files end with .json (COCO) or .pkl, .pickle (MMDetection)"
    )


def _save_json(content: Any, path: Path) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _save_pickle(content: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def _image_fields(record: ImageRecord) -> dict[str, Any]:
    known = {"cell_type": record.cell_type, "group": record.group}
    return {"height": record.height, "width": record.width} | {
        k: v for k, v in known.items() if v is not None
    }


def _to_coco(
    records: Sequence[ImageRecord], categories: tuple[str, ...], info: dict[str, Any]
) -> dict[str, Any]:
    category_id = {name: index for index, name in enumerate(categories, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, start=1):
        images.append({"id": image_id, "file_name": record.file_name} | _image_fields(record))
        boxes = record.masks.boxes
        boxes[:, 2:] -= boxes[:, :2]
        rows = zip(
            record.masks.to_coco(text=True),
            record.masks.areas.tolist(),
            boxes.tolist(),
            record.categories,
            strict=True,
        )
        for rle, area, box_xywh, name in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id[name],
                    "segmentation": rle,
                    "area": area,
                    "bbox": box_xywh,
                    "iscrowd": 0,
                }
            )
    return {
        "info": info,
        "licenses": [],
        "categories": [
            {"id": index, "name": name, "supercategory": "cell"}
            for name, index in category_id.items()
        ],
        "images": images,
        "annotations": annotations,
    }


def _select_coco(content: dict[str, Any], image_ids: set[int]) -> dict[str, Any]:
    images = [image for image in content["images"] if image["id"] in image_ids]
    annotations = [row for row in content["annotations"] if row["image_id"] in image_ids]
    return content | {"images": images, "annotations": annotations}


def _to_mmdet(
    records: Sequence[ImageRecord], categories: tuple[str, ...], info: dict[str, Any]
) -> dict[str, Any]:
    data_list = []
    for image_id, record in enumerate(records, start=1):
        rows = zip(
            record.masks.to_coco(), record.masks.boxes.tolist(), record.categories, strict=True
        )
        instances = [
            {"bbox": box, "bbox_label": categories.index(name), "mask": rle, "ignore_flag": 0}
            for rle, box, name in rows
        ]
        image = {"img_path": record.file_name, "img_id": image_id} | _image_fields(record)
        data_list.append(image | {"instances": instances})
    return {"metainfo": {"classes": categories, "info": info}, "data_list": data_list}


def _select_mmdet(content: dict[str, Any], image_ids: set[int]) -> dict[str, Any]:
    return content | {
        "data_list": [image for image in content["data_list"] if image["img_id"] in image_ids]
    }


# ---------------------------------------------------------------------------- reading


def read_annotations(path: str | os.PathLike[str]) -> list[ImageRecord]:
    """Read COCO json (RLE or polygons) or MMDetection 3.x pickle; images in file order, cells in theirs.

    What is to be ignored (``iscrowd``, ``ignore_flag``) is no cell, and left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is of neither layout or is damaged; the message names file and entry.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        classes, images = parse_coco(load_json(path), str(path))
    elif suffix in (".pkl", ".pickle"):
        classes, images = parse_mmdet(load_pickle(path), str(path))
    else:
        raise ValueError(
            f"{path}: annotation files end with .json (COCO) or .pkl, .pickle (MMDetection)"
        )
    return [_to_record(image, classes, path) for image in images]


def _to_record(
    image: dict[str, Any], classes: tuple[str, ...], path: str | os.PathLike[str]
) -> ImageRecord:
    where = f"{path}: image {image['img_id']} ({image['img_path']})"
    instances = [instance for instance in image["instances"] if not instance["ignore_flag"]]
    unmasked = [number for number, instance in enumerate(instances) if "mask" not in instance]
    if unmasked:
        raise ValueError(f"{where}: instance {unmasked[0]} has no mask")
    height, width = int(image["height"]), int(image["width"])
    return ImageRecord(
        file_name=image["img_path"],
        height=height,
        width=width,
        masks=segmentations_to_runs(
            [instance["mask"] for instance in instances], height, width, where=where
        ),
        categories=tuple(classes[instance["bbox_label"]] for instance in instances),
        cell_type=image["cell_type"],
        group=image["group"],
    )


def load_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a ValueError that names it says that it is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON (cut off?): {error}") from error


def segmentations_to_runs(
    segmentations: Sequence[Any], height: int, width: int, *, where: str
) -> Runs:
    """Read segmentations of one image, each a COCO RLE or a list of polygons ``[x1, y1, x2, y2, ...]``.

    Raises:
        ValueError: naming ``where`` for a malformed segmentation.
    """
    rles = []
    for index, segmentation in enumerate(segmentations):
        try:
            rles.append(_to_rle(segmentation, height, width))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: instance {index}: {error}") from error
    try:
        return Runs.from_coco(rles, height, width)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def is_polygons(segmentation: Any) -> bool:
    """Return whether this is a list of polygons, and not an RLE or something else."""
    return isinstance(segmentation, list | tuple) and all(
        isinstance(part, list | tuple | np.ndarray) for part in segmentation
    )


def _to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if is_polygons(segmentation):
        return _rasterise(segmentation, height, width)
    if isinstance(segmentation, dict) and segmentation.keys() >= {"size", "counts"}:
        return segmentation
    raise ValueError(
        "a mask is a list of polygons [x1, y1, x2, y2, ...] or a COCO RLE with 'size' and 'counts'; "
        f"got {type(segmentation).__name__} {str(segmentation)[:60]}"
    )


def _rasterise(polygons: Sequence[Sequence[float]], height: int, width: int) -> dict[str, Any]:
    odd = [len(polygon) for polygon in polygons if len(polygon) % 2]
    if odd:
        raise ValueError(f"a polygon of {odd[0]} numbers; x and y come in pairs")
    usable = [
        np.asarray(polygon, dtype=np.float64).tolist() for polygon in polygons if len(polygon) >= 6
    ]
    if not usable:
        return Runs.from_pixels(
            np.zeros(0, np.int64), np.zeros(0, np.int64), 1, height, width
        ).to_coco()[0]
    return coco_mask.merge(coco_mask.frPyObjects(usable, height, width))
