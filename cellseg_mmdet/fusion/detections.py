"""`Detections`, what one source found in one image: a model, or a view of test-time augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cellseg_mmdet.masks import Runs


@dataclass(frozen=True, eq=False)
class Detections:
    """N instances found in one image by one source.

    Attributes:
        boxes: (N, 4) float xyxy in pixels of the image.
        scores: (N,) float in [0, 1].
        labels: (N,) int.
        soft_masks: (N, rows, columns) probabilities of foreground, in the coordinates of ``boxes``,
            which are cut into as many bins; float in [0, 1], or uint8 as round(255 p). Sources may
            have them of different sizes.
        masks: N binary masks on the image.
        mask_scores: (N,) float, the quality of each mask in [0, 1].

    Example:
        >>> box = np.array([[0.0, 0.0, 4.0, 4.0]])
        >>> len(Detections(box, np.array([0.9]), np.array([0])))
        1
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    soft_masks: np.ndarray | None = None
    masks: Runs | None = None
    mask_scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        counts = {
            field.name: len(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        if len(set(counts.values())) > 1:
            raise ValueError(f"numbers of instances differ: {counts}")
        if self.soft_masks is not None:
            _check_soft_masks(self.soft_masks)

    def __len__(self) -> int:
        return len(self.scores)


def of_all(sources: Sequence[Detections], name: str) -> list[Any] | None:
    """Return an optional field of each source, or None if not all have it."""
    values = [getattr(source, name) for source in sources]
    return None if any(value is None for value in values) else values


def _check_soft_masks(soft_masks: np.ndarray) -> None:
    if soft_masks.ndim != 3:
        raise ValueError(f"soft masks of shape {soft_masks.shape}, expected (N, rows, columns)")
    if soft_masks.dtype != np.uint8 and soft_masks.dtype.kind != "f":
        raise ValueError(f"soft masks are float or uint8, found {soft_masks.dtype}")
