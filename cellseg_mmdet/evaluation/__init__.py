"""How good predictions are: functions without torch, and `cell_metric`, which MMDetection calls.

A new metric is one module here with a class that `IMAGE_METRICS` registers (see
`image_metric.ImageMetric`).
"""

from cellseg_mmdet.evaluation import coco_ap, kaggle_map
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImageMetric, MetricOptions
from cellseg_mmdet.evaluation.scoring import format_scores, score_predictions

__all__ = [
    "IMAGE_METRICS",
    "ImageMetric",
    "MetricOptions",
    "coco_ap",
    "format_scores",
    "kaggle_map",
    "score_predictions",
]
