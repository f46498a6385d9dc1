"""Predictions against annotations: which belong together, what is measured, and the table of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImageMetric, MetricOptions
from cellseg_mmdet.predictions import ImagePrediction

Postprocess = Callable[[ImagePrediction], ImagePrediction]


def build_metrics(names: Sequence[str], options: MetricOptions) -> dict[str, ImageMetric]:
    """Build metrics by name.

    Raises:
        ValueError: for an unknown name, listing the known ones, or an option that a metric lacks.
    """
    return {name: IMAGE_METRICS.get(name)(options) for name in names}


def records_by_image_id(
    records: Sequence[ImageRecord], source: str = "annotations"
) -> dict[str, ImageRecord]:
    """Return the records by file name without folder and suffix: so predictions name images.

    Raises:
        ValueError: if two share it.
    """
    by_id: dict[str, ImageRecord] = {}
    for record in records:
        image_id = Path(record.file_name).stem
        if image_id in by_id:
            raise ValueError(
                f"{source}: {by_id[image_id].file_name} and {record.file_name} share the name "
                f"{image_id!r}; predictions could not tell them apart"
            )
        by_id[image_id] = record
    return by_id


def measure_image(
    prediction: ImagePrediction,
    records: Mapping[str, ImageRecord],
    metrics: Mapping[str, ImageMetric],
    postprocess: Postprocess | None = None,
    source: str = "the annotations",
) -> dict[str, Any]:
    """Return what each metric measures on one image, by name, with the image's ``cell_type``.

    Raises:
        ValueError: if the image is not annotated, or annotated with another size.
    """
    if prediction.image_id not in records:
        known = ", ".join(sorted(records)[:3])
        raise ValueError(
            f"image {prediction.image_id!r} is not in {source}; its {len(records)} are {known}, ..."
        )
    record = records[prediction.image_id]
    if (record.height, record.width) != (prediction.height, prediction.width):
        raise ValueError(
            f"image {prediction.image_id!r} is {record.height} x {record.width} pixels in {source} "
            f"but {prediction.height} x {prediction.width} in the prediction"
        )
    final = prediction if postprocess is None else postprocess(prediction)
    measured = {
        name: metric.measure(prediction if metric.on_raw else final, record)
        for name, metric in metrics.items()
    }
    return {"cell_type": record.cell_type, "measured": measured}


def summarise(
    images: Sequence[Mapping[str, Any]], metrics: Mapping[str, ImageMetric]
) -> dict[str, float]:
    """Return the scores of all metrics for what `measure_image` returned for each image."""
    cell_types = [image["cell_type"] for image in images]
    scores: dict[str, float] = {}
    for name, metric in metrics.items():
        scores |= metric.summarise([image["measured"][name] for image in images], cell_types)
    return scores


def score_predictions(
    predictions: Sequence[ImagePrediction],
    records: Sequence[ImageRecord],
    *,
    metrics: Sequence[str] = ("kaggle_map",),
    postprocess: Postprocess | None = None,
    options: MetricOptions | None = None,
) -> dict[str, float]:
    """Return the scores of raw predictions against annotations, which are matched by image name.

    Args:
        metrics: names of `IMAGE_METRICS`.
        postprocess: from raw predictions to final instances; metrics ``on_raw`` are measured
            without it.

    Raises:
        ValueError: if predictions and annotations are not of the same images, or not of the same
            size.
    """
    built = build_metrics(metrics, options or MetricOptions())
    by_id = records_by_image_id(records)
    missing = sorted(by_id.keys() - {prediction.image_id for prediction in predictions})
    if missing:
        raise ValueError(
            f"{len(missing)} annotated images have no prediction: {', '.join(missing[:5])}"
        )
    return summarise(
        [measure_image(prediction, by_id, built, postprocess) for prediction in predictions], built
    )


def format_scores(scores: Mapping[str, float]) -> str:
    """Return the scores as a table, one line each."""
    width = max(map(len, scores), default=0)
    return "\n".join(f"{name:<{width}}  {score:.4f}" for name, score in scores.items())
