"""What a metric is: something measured on each image, and numbers made of all measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.registry import Registry
from cellseg_mmdet.structures import ImagePrediction, ImageRecord

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


class ScoreText(NamedTuple):
    """What tables and pages say of a score.

    Attributes:
        title: its name in words.
        meaning: what it is, in a few words.
    """

    title: str
    meaning: str


class ImageMetric(Protocol):
    """A metric, in two steps so that the images may be measured in several processes.

    Constructed with `MetricOptions`.

    Attributes:
        on_raw: it judges the predictions as the model made them, not the final instances.
        needs_scores: it cannot judge predictions without scores.
        rank: tables have it in this place, by rising rank.
        texts: what tables and pages say of its numbers, by name, in their order; those that are for tables.
    """

    on_raw: bool
    needs_scores: bool
    rank: int
    texts: Mapping[str, ScoreText]

    def measure(self, pair: ImagePair) -> Any:
        """Return what there is to know of one image; small and picklable."""

    def summarise(self, measured: Sequence[Any]) -> dict[str, float]:
        """Return the numbers by name for a set of images, given what was measured on each."""


IMAGE_METRICS: Registry[ImageMetric] = Registry("metric")


def metric_names(*, needing_scores: bool = True) -> tuple[str, ...]:
    """Return the names of all metrics in the order of tables; without those that need scores if not asked for."""
    kinds: dict[str, Any] = {name: IMAGE_METRICS.get(name) for name in IMAGE_METRICS.names()}
    names = sorted(kinds, key=lambda name: (kinds[name].rank, name))
    return tuple(name for name in names if needing_scores or not kinds[name].needs_scores)


def score_texts() -> dict[str, ScoreText]:
    """Return what tables and pages say of each score, by its name, in the order of tables.

    Example:
        >>> import cellseg_mmdet.evaluation
        >>> score_texts()["aji"].title
        'AJI'
    """
    kinds: list[Any] = [IMAGE_METRICS.get(name) for name in metric_names()]
    return {name: text for kind in kinds for name, text in kind.texts.items()}


def mean_over_images(
    name: str, title: str, meaning: str, *, rank: int = 100
) -> Callable[[ImageScore], ImageScore]:
    """Return a decorator that enters a function of one image as the metric of its mean over images.

    Args:
        name: of the metric and of its score.
        title: see `ScoreText`.
        meaning: see `ScoreText`.
        rank: see `ImageMetric`.
    """

    def enter(score: ImageScore) -> ImageScore:
        texts = {name: ScoreText(title, meaning)}
        build: Any = partial(_MeanOverImages, name, score, texts, rank)
        build.texts, build.rank, build.on_raw, build.needs_scores = texts, rank, False, False
        IMAGE_METRICS.register(name)(build)
        return score

    return enter


class _MeanOverImages:
    """The mean over images of a number of each; nan without any image."""

    on_raw, needs_scores = False, False

    def __init__(
        self,
        name: str,
        score: ImageScore,
        texts: Mapping[str, ScoreText],
        rank: int,
        options: MetricOptions,
    ) -> None:
        # No option plays a part: the number is one of masks alone.
        self.name = name
        self.score = score
        self.texts = texts
        self.rank = rank

    def measure(self, pair: ImagePair) -> float:
        return self.score(pair.overlaps)

    def summarise(self, measured: Sequence[float]) -> dict[str, float]:
        return {self.name: float(np.mean(measured)) if len(measured) else float("nan")}
