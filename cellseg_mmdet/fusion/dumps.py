"""Ensembles: dumps of raw predictions fused into one that every later tool reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fusion.detections import Detections
from cellseg_mmdet.fusion.fuse import FusionOptions, check_weights, fuse
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.structures import ImagePrediction, load_predictions, write_predictions

# Images that an error names.
_NAMED = 5


class Dump(NamedTuple):
    """A dump of raw predictions.

    Attributes:
        path: of the file.
        weight: of its model, positive.
        predictions: what was found in each image, by image id.
    """

    path: str
    weight: float
    predictions: dict[str, ImagePrediction]


@dataclass(frozen=True)
class FusionSummary:
    """What was fused.

    Attributes:
        num_images: of the result.
        num_detections: in all dumps.
        num_instances: in the result.
        without_soft_masks: the dumps that have none; if there is one, masks were fused by vote.
    """

    num_images: int
    num_detections: int
    num_instances: int
    without_soft_masks: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_detections} detections fused to {self.num_instances} instances "
            f"in {self.num_images} images"
        )


def fuse_dumps(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    weights: Sequence[float] | None = None,
    options: FusionOptions | None = None,
    union: bool = False,
    classes: Sequence[str] | None = None,
    workers: int | None = None,
    read: Callable[[str | os.PathLike[str]], Sequence[ImagePrediction]] = load_predictions,
) -> FusionSummary:
    """Fuse dumps of raw predictions and write the result, a dump of the same layout.

    Args:
        paths: of the dumps, one at least; images are matched by name.
        out: file to write.
        weights: of the dumps, positive; equal by default.
        options: how an image is fused.
        union: take every image of any dump, and fuse it from those that hold it, as for models of
            different folds; else all dumps must be of the same images.
        classes: of the models, to check the labels against; a dump does not say them.
        workers: processes; by default the available cores.
        read: reads one of ``paths``; by default as a dump.

    Raises:
        FileNotFoundError: if a dump does not exist.
        DataError: if a dump is damaged; if dumps are not of the same images or of the same image
            sizes, or hold labels that are none of the classes; for weights that are not positive or
            not as many as dumps.
    """
    weights = [1.0] * len(paths) if weights is None else weights
    check_weights(weights, len(paths))
    dumps = [_read(path, weight, read) for path, weight in zip(paths, weights, strict=True)]
    if not union:
        _check_same_images(dumps)
    if classes is not None:
        _check_labels(dumps, classes)
    images = _by_image(dumps)

    everything = [prediction for dump in dumps for prediction in dump.predictions.values()]
    optional = tuple(
        name
        for name in ("soft_masks", "mask_scores")
        if all(getattr(prediction, name) is not None for prediction in everything)
    )
    fuse_one = partial(_fuse_image, options=options or FusionOptions(), optional=optional)
    fused = parallel_map(fuse_one, images, description="fusing", workers=workers)
    write_predictions(out, fused)
    return FusionSummary(
        num_images=len(fused),
        num_detections=sum(map(len, everything)),
        num_instances=sum(map(len, fused)),
        without_soft_masks=tuple(
            dump.path
            for dump in dumps
            if any(prediction.soft_masks is None for prediction in dump.predictions.values())
        ),
    )


class _Image(NamedTuple):
    """An image and what dumps say of it."""

    predictions: tuple[ImagePrediction, ...]
    weights: tuple[float, ...]


def _read(
    path: str | os.PathLike[str],
    weight: float,
    read: Callable[[str | os.PathLike[str]], Sequence[ImagePrediction]],
) -> Dump:
    predictions = {prediction.image_id: prediction for prediction in read(path)}
    return Dump(os.fspath(path), weight, predictions)


def _check_same_images(dumps: Sequence[Dump]) -> None:
    for dump in dumps:
        for other in dumps:
            missing = [name for name in other.predictions if name not in dump.predictions]
            if missing:
                named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
                raise DataError(
                    f"{dump.path} lacks {len(missing)} of the {len(other.predictions)} images of "
                    f"{other.path}: {named}; dumps of different images are joined by --union"
                )


def _check_labels(dumps: Sequence[Dump], classes: Sequence[str]) -> None:
    for dump in dumps:
        for name, prediction in dump.predictions.items():
            wrong = (prediction.labels < 0) | (prediction.labels >= len(classes))
            if wrong.any():
                index = int(np.argmax(wrong))
                raise DataError(
                    f"{dump.path}: image {name}: instance {index} has label "
                    f"{prediction.labels[index]}; there are {len(classes)} classes, "
                    f"from 0: {', '.join(classes)}"
                )


def _by_image(dumps: Sequence[Dump]) -> list[_Image]:
    """Return every image once, in the order in which the dumps have them."""
    holders: dict[str, list[Dump]] = {}
    for dump in dumps:
        for name in dump.predictions:
            holders.setdefault(name, []).append(dump)
    return [_image(name, those) for name, those in holders.items()]


def _image(name: str, dumps: Sequence[Dump]) -> _Image:
    predictions = tuple(dump.predictions[name] for dump in dumps)
    first = predictions[0]
    for dump, other in zip(dumps, predictions, strict=True):
        if (other.height, other.width) != (first.height, first.width):
            raise DataError(
                f"image {name} has {first.height} x {first.width} pixels in {dumps[0].path}, "
                f"{other.height} x {other.width} in {dump.path}"
            )
    return _Image(predictions, tuple(dump.weight for dump in dumps))


def _fuse_image(
    image: _Image, *, options: FusionOptions, optional: Sequence[str]
) -> ImagePrediction:
    """Return the fused prediction of an image; of the optional fields, those named are fused."""
    sources = [
        Detections(
            prediction.boxes,
            prediction.scores,
            prediction.labels,
            masks=prediction.masks,
            **{name: getattr(prediction, name) for name in optional},
        )
        for prediction in image.predictions
    ]
    fused = fuse(sources, image.weights, options)
    assert fused.masks is not None  # every source has masks
    soft_masks = fused.soft_masks
    return replace(
        image.predictions[0],
        boxes=fused.boxes,
        scores=fused.scores,
        labels=fused.labels,
        masks=fused.masks,
        mask_scores=fused.mask_scores,
        soft_masks=None if soft_masks is None else np.rint(soft_masks * 255).astype(np.uint8),
    )
