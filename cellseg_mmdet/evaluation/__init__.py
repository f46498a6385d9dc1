"""How good predictions are: functions without torch; `engine.cell_metric` is what MMDetection calls.

A new metric is one module here with a function or a class that `IMAGE_METRICS` registers (see
`image_metric.mean_over_images` and `image_metric.ImageMetric`), named below.
"""

from cellseg_mmdet.evaluation import (
    aji,
    coco_ap,
    detection,
    foreground,
    kaggle_map,
    panoptic,
)
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImageMetric, MetricOptions
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.evaluation.scoring import format_scores, score_predictions

__all__ = [
    "IMAGE_METRICS",
    "ImageMetric",
    "MetricOptions",
    "Overlaps",
    "aji",
    "coco_ap",
    "detection",
    "foreground",
    "format_scores",
    "kaggle_map",
    "panoptic",
    "score_predictions",
]
