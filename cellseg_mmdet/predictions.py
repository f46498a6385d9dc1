"""`ImagePrediction`, the instances found in one image, and how to read a dump of them.

A dump is what mmdet's ``DumpDetResults`` writes: a pickled list with one dict per image, its
tensors those of torch. torch is imported only to read such a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.safe_pickle import load_pickle

# What pred_instances holds, and the shape of it for one instance; None for a side of any length.
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "bboxes": (4,),
    "scores": (),
    "labels": (),
    "maskness": (),
    "soft_masks": (None, None),
}
_OPTIONAL = ("maskness", "soft_masks")


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """N instances found in one image.

    Attributes:
        image_id: name of the image file without folder and suffix, as in a submission.
        img_id: id of the image in its annotation file.
        height: image height in pixels.
        width: image width in pixels.
        boxes: (N, 4) float xyxy in pixels, as the detector gave them: steps that change a mask
            leave its box.
        scores: (N,) float, confidence in [0, 1].
        labels: (N,) int, index into the classes of the model.
        masks: N instances; they may overlap and may be empty.
        mask_scores: (N,) float in [0, 1], the mean probability of the mask's pixels; None where it
            is not known.
        soft_masks: (N, rows, columns) uint8, 255 times the probability of foreground, over
            ``boxes``; None where it was not kept. Steps that change a mask leave this too.
    """

    image_id: str
    img_id: int | str | None
    height: int
    width: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: Runs
    mask_scores: np.ndarray | None = None
    soft_masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        counts = {name: len(values) for name, values in self._per_instance().items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"{self.image_id}: numbers of instances differ: {counts}")
        if (self.masks.height, self.masks.width) != (self.height, self.width):
            raise ValueError(
                f"{self.image_id}: masks of {self.masks.height} x {self.masks.width} pixels "
                f"for an image of {self.height} x {self.width}"
            )
        if not np.isfinite(self.scores).all():
            raise ValueError(
                f"{self.image_id}: the score of instance "
                f"{np.argmin(np.isfinite(self.scores))} is not finite"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: np.ndarray) -> ImagePrediction:
        """Return the instances that a boolean or integer array picks, in its order."""
        return replace(
            self, **{name: values[index] for name, values in self._per_instance().items()}
        )

    def by_descending_score(self) -> np.ndarray:
        """Return the order (N,) int64 by falling score; equal scores in the order they are in."""
        return np.argsort(-self.scores, kind="stable")

    def _per_instance(self) -> dict[str, Any]:
        names = ("boxes", "scores", "labels", "masks", "mask_scores", "soft_masks")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def load_predictions(path: str | os.PathLike[str]) -> list[ImagePrediction]:
    """Read a dump of raw predictions; images in file order.

    The file may hold tensors, arrays and plain containers only: it cannot run code while it is
    read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is cut off, holds anything else, is of another layout, or lists an image
            twice; the message names file and entry.
    """
    content = load_pickle(path)
    if not isinstance(content, list):
        raise ValueError(
            f"{path} is no dump of predictions: expected a list with one dict per image, "
            f"found {type(content).__name__}"
        )
    predictions: list[ImagePrediction] = []
    seen: dict[str, int] = {}
    for number, entry in enumerate(content):
        where = f"{path}: entry {number}"
        prediction = from_dump_entry(entry, where=where)
        first = seen.setdefault(prediction.image_id, number)
        if first != number:
            raise ValueError(
                f"{where} is image {prediction.image_id!r}, which entry {first} is already"
            )
        predictions.append(prediction)
    return predictions


def from_dump_entry(entry: Mapping[str, Any], *, where: str = "prediction") -> ImagePrediction:
    """Read one entry of a dump, or what a model returns for an image (``DetDataSample.to_dict()``).

    ``pred_instances`` holds ``bboxes`` (N, 4), ``scores`` (N,), ``labels`` (N,), tensors or arrays,
    and ``masks``, of one of the forms that `read_masks` takes. It may hold ``maskness`` (N,) and
    ``soft_masks`` (N, rows, columns) uint8.

    Raises:
        ValueError: naming ``where`` for a missing key, or for shapes, sizes or types that do not go
            together.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected a dict, found {type(entry).__name__}")
    _require(entry, ("img_path", "ori_shape", "pred_instances"), where)
    instances = entry["pred_instances"]
    where = f"{where} ({entry['img_path']})"
    if "masks" not in instances:
        raise ValueError(
            f"{where}: pred_instances has no masks; a model without a mask head finds boxes only"
        )
    _require(
        instances, [key for key in _SHAPES if key not in _OPTIONAL], f"{where}: pred_instances"
    )
    arrays = _arrays_of(instances, where)
    height, width = (int(side) for side in entry["ori_shape"][:2])
    try:
        return ImagePrediction(
            image_id=Path(entry["img_path"]).stem,
            img_id=entry.get("img_id"),
            height=height,
            width=width,
            boxes=arrays["bboxes"],
            scores=arrays["scores"],
            labels=arrays["labels"],
            masks=read_masks(instances["masks"], height, width),
            mask_scores=arrays.get("maskness"),
            soft_masks=arrays.get("soft_masks"),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{where}: {error}") from error


def _arrays_of(instances: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """Return what ``pred_instances`` holds for each instance, but for the masks."""
    arrays = {key: _to_numpy(instances[key]) for key in _SHAPES if key in instances}
    for key, array in arrays.items():
        if not _fits(array, _SHAPES[key]):
            sides = ", ".join(
                ["N", *("any" if side is None else str(side) for side in _SHAPES[key])]
            )
            raise ValueError(f"{where}: {key} of shape {array.shape}, expected ({sides})")
    if not len(arrays["scores"]):
        # An image without boxes never reaches the mask head: nothing is missing all the same.
        arrays.setdefault("maskness", np.zeros(0))
        arrays.setdefault("soft_masks", np.zeros((0, 0, 0), dtype=np.uint8))
    soft_masks = arrays.get("soft_masks")
    if soft_masks is not None and soft_masks.dtype != np.uint8:
        raise ValueError(f"{where}: soft_masks of type {soft_masks.dtype}, expected uint8")
    return arrays


def _fits(array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    return array.ndim == 1 + len(shape) and all(
        expected in (None, found) for expected, found in zip(shape, array.shape[1:], strict=True)
    )


def read_masks(masks: Any, height: int, width: int) -> Runs:
    """Read the masks of one image: `EncodedMasks`, a list of N COCO RLEs, or a boolean tensor (N, height, width).

    The tensor may be an array, and on any device.

    Raises:
        ValueError: if they are of another size, or an RLE is malformed.
    """
    if isinstance(masks, list | tuple):
        return Runs.from_coco(masks, height, width)
    if tuple(masks.shape[1:]) != (height, width):
        raise ValueError(
            f"masks of shape {tuple(masks.shape)} for an image of {height} x {width} pixels"
        )
    if isinstance(masks, EncodedMasks):
        return masks.runs
    if hasattr(masks, "detach"):
        # Found on the device: the pixels are few, N x height x width is not.
        instance, y, x = masks.nonzero().T.cpu().numpy()
    else:
        instance, y, x = np.nonzero(masks)
    return Runs.from_pixels(x * height + y, instance, len(masks), height, width)


def from_records(
    records: Sequence[ImageRecord], classes: Sequence[str] | None = None
) -> list[ImagePrediction]:
    """Turn the ground truth into predictions with score 1: the perfect ones.

    ``classes`` gives the order of the labels; by default the categories that occur, sorted.
    """
    if classes is None:
        classes = sorted({name for record in records for name in record.categories})
    label_of = {name: label for label, name in enumerate(classes)}
    return [
        ImagePrediction(
            image_id=Path(record.file_name).stem,
            img_id=None,
            height=record.height,
            width=record.width,
            boxes=record.masks.boxes.astype(np.float64),
            scores=np.ones(len(record.masks)),
            labels=np.array([label_of[name] for name in record.categories], dtype=np.int64),
            masks=record.masks,
        )
        for record in records
    ]


def _require(mapping: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    missing = [key for key in keys if key not in mapping]
    if missing:
        raise ValueError(
            f"{where}: no {', '.join(map(repr, missing))}; found {', '.join(map(repr, mapping))}"
        )


def _to_numpy(value: Any) -> np.ndarray:
    # By attribute, not by type: naming torch.Tensor would import torch.
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
