"""What a metric is: something measured on each image, and numbers made of all measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.predictions import ImagePrediction
from cellseg_mmdet.registry import Registry


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


class ImageMetric(Protocol):
    """A metric, in two steps so that the images may be measured in several processes.

    Attributes:
        on_raw: it judges the predictions as the model made them, not the final instances.
    """

    on_raw: bool

    def measure(self, prediction: ImagePrediction, record: ImageRecord) -> Any:
        """Return what there is to know of one image; small and picklable."""

    def summarise(
        self, measured: Sequence[Any], cell_types: Sequence[str | None]
    ) -> dict[str, float]:
        """Return the numbers for all images, given the measurements and the cell type of each."""


IMAGE_METRICS: Registry[ImageMetric] = Registry("metric")
