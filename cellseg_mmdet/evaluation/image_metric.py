"""What a metric is: something measured on each image, and numbers made of all measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.registry import Registry
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.structures.image_record import ImageRecord

ImageScore = Callable[[Overlaps], float]


@dataclass(frozen=True)
class MetricOptions:
    """What metrics may need to know beyond predictions and annotations.

    Attributes:
        classes: class names by label.
        single_class: count all classes of annotations and predictions as this one.
        coco_max_dets: detections per image, those with the highest scores, that COCO AP looks at.
    """

    classes: tuple[str, ...] | None = None
    single_class: str | None = None
    coco_max_dets: int = 2000


@dataclass(frozen=True, eq=False)
class ImagePair:
    """An image as predicted and as annotated; all metrics of an image are given the same one."""

    prediction: ImagePrediction
    record: ImageRecord

    @cached_property
    def overlaps(self) -> Overlaps:
        """What predicted and true masks share, whichever their classes."""
        return Overlaps(self.prediction.masks, self.record.masks)


class ImageMetric(Protocol):
    """A metric, in two steps so that the images may be measured in several processes.

    Constructed with `MetricOptions`.

    Attributes:
        on_raw: it judges the predictions as the model made them, not the final instances.
    """

    on_raw: bool

    def measure(self, pair: ImagePair) -> Any:
        """Return what there is to know of one image; small and picklable."""

    def summarise(self, measured: Sequence[Any]) -> dict[str, float]:
        """Return the numbers by name for a set of images, given what was measured on each."""


IMAGE_METRICS: Registry[ImageMetric] = Registry("metric")


def mean_over_images(name: str) -> Callable[[ImageScore], ImageScore]:
    """Return a decorator that enters a function of one image as the metric of its mean over images."""

    def enter(score: ImageScore) -> ImageScore:
        IMAGE_METRICS.register(name)(partial(_MeanOverImages, name, score))
        return score

    return enter


class _MeanOverImages:
    """The mean over images of a number of each; nan without any image."""

    on_raw = False

    def __init__(self, name: str, score: ImageScore, options: MetricOptions) -> None:
        # No option plays a part: the number is one of masks alone.
        self.name = name
        self.score = score

    def measure(self, pair: ImagePair) -> float:
        return self.score(pair.overlaps)

    def summarise(self, measured: Sequence[float]) -> dict[str, float]:
        return {self.name: float(np.mean(measured)) if len(measured) else float("nan")}
