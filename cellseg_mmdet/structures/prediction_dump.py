"""Dumps of predictions: their one layout, read and written here.

A dump is what mmdet's ``DumpDetResults`` writes: a pickled list with one dict per image, its tensors those of torch.
torch is imported only to read such a file.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from cellseg_mmdet.errors import CellsegError, DataError, shown
from cellseg_mmdet.fields import FieldError, Identifier, identifier, size_hw, text
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.safe_pickle import load_pickle
from cellseg_mmdet.structures.dumped_masks import as_array, read_masks
from cellseg_mmdet.structures.image_prediction import ImagePrediction

# What pred_instances holds, and the shape of it for one instance; None for a side of any length.
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "bboxes": (4,),
    "scores": (),
    "labels": (),
    "maskness": (),
    "soft_masks": (None, None),
}
_OPTIONAL = ("maskness", "soft_masks")
_MAPS = "pred_maps"  # of a pixel model, beside pred_instances
_GROUND_TRUTH = ("gt_instances", "ignored_instances", "gt_panoptic_seg")
# The name of an image, where that is not the stem of its path.
_NAME = "image_id"
# What entries of final predictions have besides those that mmdet writes: the names of their classes.
_FINAL = "final_classes"
# The last one whose pickles number what they refer to by themselves: several stand in one file.
_PROTOCOL = 3


@dataclass(frozen=True, eq=False)
class PredictionDump:
    """What a dump holds.

    Attributes:
        predictions: in file order.
        is_final: whether they went through a post-processing already, as those of ``cellseg infer``; a second one would
            leave out cells that were measured and drawn. Those of mmdet and of ``cellseg test`` did not.
        classes: names by label, of final predictions; else None.

    Example:
        >>> PredictionDump([]).is_final
        False
    """

    predictions: list[ImagePrediction]
    is_final: bool = False
    classes: tuple[str, ...] | None = None


def load_predictions(path: str | os.PathLike[str]) -> list[ImagePrediction]:
    """Return the predictions of a dump; see `load_dump`.

    Example:
        >>> write_predictions("empty.pkl", [])
        0
        >>> load_predictions("empty.pkl")
        []
    """
    return load_dump(path).predictions


def load_dump(path: str | os.PathLike[str]) -> PredictionDump:
    """Read a dump of predictions.

    The file may hold tensors, arrays and plain containers only: it cannot run code while it is
    read.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is cut off, holds anything else, is of another layout, or lists an image
            twice; the message names file and entry.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> write_predictions("final.pkl", [to_final_entry(found, ["nucleus"])])
        1
        >>> dump = load_dump("final.pkl")
        >>> dump.is_final, dump.classes
        (True, ('nucleus',))
    """
    content = load_pickle(path)
    if not isinstance(content, list):
        raise DataError(
            f"{path} is no dump of predictions: expected a list with one dict per image, "
            f"found {type(content).__name__}"
        )
    predictions: list[ImagePrediction] = []
    seen: dict[str, int] = {}
    classes: list[tuple[str, ...] | None] = []
    for number, entry in enumerate(content):
        where = f"{path}: entry {number}"
        prediction = from_dump_entry(entry, where=where)
        first = seen.setdefault(prediction.image_id, number)
        if first != number:
            raise DataError(
                f"{where} is image {prediction.image_id!r}, which entry {first} is already"
            )
        predictions.append(prediction)
        classes.append(_final_classes(entry, where))
    if not classes or None in classes:
        return PredictionDump(predictions)
    if len(set(classes)) > 1:
        raise DataError(f"{path}: the entries are of several models, with classes of their own")
    return PredictionDump(predictions, True, classes[0])


def from_dump_entry(entry: Mapping[str, Any], *, where: str = "prediction") -> ImagePrediction:
    """Read one entry of a dump, or what a model returns for an image (``DetDataSample.to_dict()``).

    ``pred_instances`` holds ``bboxes`` (N, 4), ``scores`` (N,), ``labels`` (N,), tensors or arrays,
    and ``masks``, of one of the forms that `read_masks` takes. It may hold ``maskness`` (N,) and
    ``soft_masks`` (N, rows, columns) uint8. Beside it there may be ``pred_maps`` (C, height, width), half precision.

    Raises:
        DataError: naming ``where`` for a missing key, or for shapes, sizes or types that do not go
            together.
    """
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: expected a dict, found {type(entry).__name__}")
    _require(entry, ("img_path", "ori_shape", "pred_instances"), where)
    instances = entry["pred_instances"]
    img_path, img_id, (height, width) = _image_of(entry, where)
    where = f"{where} ({img_path})"
    if not isinstance(instances, Mapping):
        raise DataError(f"{where}: pred_instances is {shown(instances)}, not a dict")
    if "masks" not in instances:
        raise DataError(
            f"{where}: pred_instances has no masks; a model without a mask head finds boxes only"
        )
    _require(
        instances, [key for key in _SHAPES if key not in _OPTIONAL], f"{where}: pred_instances"
    )
    arrays = _arrays_of(instances, where)
    try:
        return ImagePrediction(
            image_id=_name_of(entry, img_path, where),
            img_path=img_path,
            img_id=img_id,
            height=height,
            width=width,
            boxes=arrays["bboxes"],
            scores=arrays["scores"],
            labels=arrays["labels"],
            masks=read_masks(instances["masks"], height, width),
            mask_scores=arrays.get("maskness"),
            soft_masks=arrays.get("soft_masks"),
            maps=_maps_of(entry, (height, width), where),
        )
    except CellsegError as error:
        raise DataError(f"{where}: {error}") from error


def to_dump_entry(found: ImagePrediction | Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of an image, which `from_dump_entry` reads.

    Args:
        found: a prediction; or what a model returns for an image (``DetDataSample.to_dict()``): its ground truth is
            left out, its masks become RLEs, and all else stays as it is, for mmdet's own tools.

    Raises:
        DataError: the masks are not of the size of the image.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> entry = to_dump_entry(ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks))
        >>> list(entry), list(entry["pred_instances"])
        (['img_id', 'img_path', 'ori_shape', 'pred_instances'], ['bboxes', 'scores', 'labels', 'masks'])
        >>> from_dump_entry(entry).masks == masks
        True
    """
    if isinstance(found, ImagePrediction):
        instances = {
            "bboxes": found.boxes,
            "scores": found.scores,
            "labels": found.labels,
            "masks": found.masks.to_coco(),
            "maskness": found.mask_scores,
            "soft_masks": found.soft_masks,
        }
        img_path = found.img_path or found.image_id
        return {
            "img_id": found.img_id,
            "img_path": img_path,
            "ori_shape": (found.height, found.width),
            "pred_instances": {key: one for key, one in instances.items() if one is not None},
            # Planes of a stack share its path, files of several folders may share their stem.
            **({} if Path(img_path).stem == found.image_id else {_NAME: found.image_id}),
        }
    entry = {key: value for key, value in found.items() if key not in _GROUND_TRUTH}
    instances = entry["pred_instances"]
    if "masks" in instances:
        runs = read_masks(instances["masks"], *entry["ori_shape"][:2])
        entry["pred_instances"] = {**instances, "masks": runs.to_coco()}
    return entry


def to_final_entry(found: ImagePrediction, classes: Sequence[str]) -> dict[str, Any]:
    """Return the entry of an image whose cells went through the post-processing, with the names of their classes.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> to_final_entry(found, ["nucleus"])["final_classes"]
        ['nucleus']
    """
    return to_dump_entry(found) | {_FINAL: list(classes)}


def _name_of(entry: Mapping[str, Any], img_path: str, where: str) -> str:
    name = entry.get(_NAME)
    if name is None:
        return Path(img_path).stem
    try:
        return text(name, _NAME)
    except FieldError as error:
        raise DataError(f"{where}: {error}") from error


def _final_classes(entry: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """Return the class names of an entry of final predictions, None of one of raw ones."""
    names = entry.get(_FINAL)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: {_FINAL} is {shown(names)}; it must be a list of names")
    return tuple(names)


def write_predictions(
    path: str | os.PathLike[str], found: Iterable[ImagePrediction | Mapping[str, Any]]
) -> int:
    """Write a dump, whole or not at all, image by image, and return the number of images.

    Args:
        path: file to write.
        found: predictions, or what `to_dump_entry` returned.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> write_predictions("predictions.pkl", [found])
        1
        >>> load_predictions("predictions.pkl")[0].scores
        array([0.4, 0.9])
    """
    count = 0
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        stream = DumpStream(file)
        for count, one in enumerate(found, start=1):  # noqa: B007
            stream.add(one)
        stream.close()
    return count


class DumpStream:
    """A pickled list that is written entry by entry, so that no more than one is in memory.

    Args:
        file: open for writing, in binary.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.write(pickle.PROTO + bytes([_PROTOCOL]) + pickle.EMPTY_LIST)

    def add(self, found: ImagePrediction | Mapping[str, Any]) -> None:
        """Append a prediction, or what `to_dump_entry` returned for an image."""
        entry = to_dump_entry(found) if isinstance(found, ImagePrediction) else found
        pickled = pickle.dumps(entry, _PROTOCOL)
        self._file.write(pickled[2:-1] + pickle.APPEND)  # without the protocol and the end

    def close(self) -> None:
        """End the list; without it the file is cut off."""
        self._file.write(pickle.STOP)


def _image_of(
    entry: Mapping[str, Any], where: str
) -> tuple[str, Identifier | None, tuple[int, int]]:
    """Return path, id and (height, width) of the image of an entry."""
    shape = entry["ori_shape"]
    try:
        img_path = text(entry["img_path"], "img_path")
        found = entry.get("img_id")
        img_id = None if found is None else identifier(found, "img_id")
        sides = list(shape) if isinstance(shape, list | tuple | np.ndarray) else []
        if len(sides) < 2:
            raise FieldError("no size", f"ori_shape is {shown(shape)}; it must be (height, width)")
        return img_path, img_id, size_hw(dict(zip(("height", "width"), sides, strict=False)))
    except (FieldError, TypeError) as error:
        raise DataError(f"{where}: {error}") from error


def _maps_of(entry: Mapping[str, Any], size_hw: tuple[int, int], where: str) -> np.ndarray | None:
    """Return the maps (C, height, width) of an entry; None where it has none."""
    if _MAPS not in entry:
        return None
    maps = _to_numpy(entry[_MAPS], _MAPS, where)
    if maps.ndim != 3 or maps.shape[1:] != size_hw or maps.dtype.kind != "f":
        raise DataError(
            f"{where}: {_MAPS} of shape {maps.shape} and type {maps.dtype}, expected floats "
            f"(C, {size_hw[0]}, {size_hw[1]})"
        )
    return maps


def _arrays_of(instances: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """Return what ``pred_instances`` holds for each instance, but for the masks."""
    arrays = {key: _to_numpy(instances[key], key, where) for key in _SHAPES if key in instances}
    for key, array in arrays.items():
        if not _fits(array, _SHAPES[key]):
            sides = ", ".join(
                ["N", *("any" if side is None else str(side) for side in _SHAPES[key])]
            )
            raise DataError(f"{where}: {key} of shape {array.shape}, expected ({sides})")
    if not len(arrays["scores"]):
        # An image without boxes never reaches the mask head: nothing is missing all the same.
        arrays.setdefault("maskness", np.zeros(0))
        arrays.setdefault("soft_masks", np.zeros((0, 0, 0), dtype=np.uint8))
    if not np.isfinite(arrays["bboxes"]).all():
        raise DataError(f"{where}: a box that is not finite")
    if len(arrays["labels"]) and arrays["labels"].min() < 0:
        raise DataError(f"{where}: label {arrays['labels'].min()}; labels are from 0")
    soft_masks = arrays.get("soft_masks")
    if soft_masks is not None and soft_masks.dtype != np.uint8:
        raise DataError(f"{where}: soft_masks of type {soft_masks.dtype}, expected uint8")
    return arrays


def _fits(array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    return array.ndim == 1 + len(shape) and all(
        expected in (None, found) for expected, found in zip(shape, array.shape[1:], strict=True)
    )


def _require(mapping: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    missing = [key for key in keys if key not in mapping]
    if missing:
        raise DataError(
            f"{where}: no {', '.join(map(repr, missing))}; found {', '.join(map(repr, mapping))}"
        )


def _to_numpy(value: Any, key: str, where: str) -> np.ndarray:
    try:
        array = as_array(value)
    except (ValueError, TypeError, OverflowError):  # lists of several lengths, say
        array = np.array(None)
    is_whole = key == "labels" and array.size > 0
    if array.dtype.kind not in ("iu" if is_whole else "iuf"):
        kind = "whole numbers" if is_whole else "numbers"
        raise DataError(f"{where}: {key} is {shown(value)}; it must be an array of {kind}")
    return array
