"""Many images through a `Predictor`, to a submission, COCO results and overlays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.export import Writer, opened
from cellseg_mmdet.export.coco import CocoWriter
from cellseg_mmdet.export.overlay import OverlayWriter
from cellseg_mmdet.export.submission import SubmissionWriter
from cellseg_mmdet.images import Image, ImageKey, PlaneSelection, read_image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.images.scale import ScaleChoice, resized_image, resized_prediction
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImagePrediction

OnError = Literal["stop", "skip"]
NamedImage = tuple[ImageKey, Image]
_AS_IT_IS = ScaleChoice()


class ImagePredictor(Protocol):
    """What `infer_images` needs of a model; `Predictor` is one."""

    classes: tuple[str, ...]

    def predict(self, images: Mapping[str, Image]) -> list[ImagePrediction]:
        """Return the raw predictions of a batch, in the order of the images."""

    def postprocess(self, prediction: ImagePrediction) -> ImagePrediction:
        """Return the final instances of an image."""


@dataclass(frozen=True)
class InferenceSummary:
    """What a run found and wrote.

    Attributes:
        num_images: images predicted.
        num_cells: final instances of all images.
        skipped: one message per image that could not be read.
        written: files and folders, each with what it is.
    """

    num_images: int
    num_cells: int
    skipped: tuple[str, ...]
    written: Mapping[Path, str]

    def __str__(self) -> str:
        lines = [f"skipped {message}" for message in self.skipped]
        lines += [f"{path}: {what}" for path, what in self.written.items()]
        left_out = (
            f", {_count(len(self.skipped), 'image')} could not be read" if self.skipped else ""
        )
        lines.append(
            f"{_count(self.num_cells, 'cell')} in {_count(self.num_images, 'image')}{left_out}"
        )
        return "\n".join(lines)


def infer_images(
    predictor: ImagePredictor,
    images: Sequence[ImageKey],
    out_dir: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    submission_format: str = "sartorius",
    overlays: bool = True,
    on_error: OnError = "stop",
    selection: PlaneSelection | None = None,
    scale: ScaleChoice = _AS_IT_IS,
    cell_scale: Mapping[str, Any] | None = None,
) -> InferenceSummary:
    """Predict images and write what was found to ``out_dir``.

    ``submission.csv`` holds the final instances; ``predictions.json`` the same as COCO results; ``images.json`` is the
    COCO data set (without annotations) that those results refer to: its image ids count from 1 in the order of
    ``images``, so ``COCO('images.json').loadRes('predictions.json')`` works. ``overlays/<name>.png`` shows them.

    Args:
        images: what is predicted, as `find_images` returns it; their names tell results apart.
        batch_size: images of one size that the model sees at once; the results do not depend on it.
        submission_format: a name of `cellseg_mmdet.export.FORMATS`.
        on_error: what happens when an image cannot be read. After 'stop' overlays of earlier images may exist, but none
            of the other files.
        selection: planes of stacks.
        scale: size of the cells, to which images are resized before they are predicted.
        cell_scale: size of the cells that the model was trained on, of its config.

    Raises:
        ImageError: an image cannot be read and ``on_error`` is 'stop', or no image can be read.
        ConfigError: unknown submission format.
    """
    submission = SubmissionWriter(submission_format)
    writers: list[Writer] = [submission, CocoWriter(), *([OverlayWriter()] if overlays else [])]
    img_ids = {key.name: number for number, key in enumerate(images, start=1)}
    skipped: list[str] = []
    readable = _read_all(progress_bar(images, description="predict"), on_error, skipped, selection)
    with opened(writers, out_dir, predictor.classes):
        for batch in _batches_of_one_size(readable, batch_size):
            seen = [
                (key, resized_image(image, scale.factors_yx(cell_scale, image.pixel_size_um)))
                for key, image in batch
            ]
            for (key, image), raw in zip(batch, _predict(predictor, seen), strict=True):
                # The numbers of the post-processing are those of the scale that the model was trained at.
                final = resized_prediction(predictor.postprocess(raw), image.size_hw)
                final = replace(final, img_id=img_ids[key.name], img_path=key.path)
                shown = to_bgr8(image)
                for writer in writers:
                    writer.add(final, shown)
        summary = submission.summary
        if not summary.num_images:
            raise ImageError(
                f"none of {_count(len(images), 'image')} can be read; the first one: {skipped[0]}"
            )
        written = {path: what for writer in writers for path, what in writer.close().files.items()}
    return InferenceSummary(summary.num_images, summary.num_cells, tuple(skipped), written)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _read_all(
    keys: Iterable[ImageKey],
    on_error: OnError,
    skipped: list[str],
    selection: PlaneSelection | None,
) -> Iterator[NamedImage]:
    """Yield the images that can be read; the messages of others go to ``skipped``."""
    for key in keys:
        try:
            image = read_image(key, selection)
        except ImageError as error:
            if on_error == "stop":
                raise
            skipped.append(str(error))
        else:
            yield key, image


def _batches_of_one_size(
    images: Iterable[NamedImage], batch_size: int
) -> Iterator[list[NamedImage]]:
    """Yield batches of images of equal shape: padding one to the size of another would change its predictions."""
    batch: list[NamedImage] = []
    for key, image in images:
        if batch and (len(batch) == batch_size or batch[0][1].pixels.shape != image.pixels.shape):
            yield batch
            batch = []
        batch.append((key, image))
    if batch:
        yield batch


def _predict(predictor: ImagePredictor, batch: Sequence[NamedImage]) -> list[ImagePrediction]:
    # A prediction is named by the stem.
    return predictor.predict({f"{key.name}.image": image for key, image in batch})
