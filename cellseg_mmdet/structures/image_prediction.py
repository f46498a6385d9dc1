"""`ImagePrediction`: the instances found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures.image_record import ImageRecord


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
        maps: (C, height, width) float16, what a pixel model predicted in each pixel, of which the instances were
            decoded; None where it was not kept.
        img_path: of the image file, as whoever predicted it named it; '' where it is not known.

    Example:
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 1])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> len(found), found.by_descending_score()
        (2, array([1, 0]))
        >>> found.select(found.scores > 0.5).labels
        array([1])
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
    img_path: str = ""
    maps: np.ndarray | None = None

    def __post_init__(self) -> None:
        counts = {name: len(values) for name, values in self._per_instance().items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"{self.image_id}: numbers of instances differ: {counts}")
        if (self.masks.height, self.masks.width) != (self.height, self.width):
            raise DataError(
                f"{self.image_id}: masks of {self.masks.height} x {self.masks.width} pixels "
                f"for an image of {self.height} x {self.width}"
            )
        if not np.isfinite(self.scores).all():
            raise DataError(
                f"{self.image_id}: the score of instance "
                f"{np.argmin(np.isfinite(self.scores))} is not finite"
            )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def cell_ids(self) -> np.ndarray:
        """Number (N,) int64 of each instance in all that is written of this prediction: from 1 on, in its order."""
        return np.arange(1, len(self) + 1, dtype=np.int64)

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


def from_records(
    records: Sequence[ImageRecord], classes: Sequence[str] | None = None
) -> list[ImagePrediction]:
    """Turn the ground truth into predictions with score 1: the perfect ones.

    ``classes`` gives the order of the labels; by default the categories that occur, sorted.

    Example:
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> record = ImageRecord("a.png", 1, 4, masks, ("cort", "cort"))
        >>> (perfect,) = from_records([record])
        >>> perfect.image_id, perfect.scores, perfect.labels
        ('a', array([1., 1.]), array([0, 0]))
    """
    if classes is None:
        classes = sorted({name for record in records for name in record.categories})
    label_of = {name: label for label, name in enumerate(classes)}
    return [
        ImagePrediction(
            image_id=Path(record.file_name).stem,
            img_path=record.file_name,
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
