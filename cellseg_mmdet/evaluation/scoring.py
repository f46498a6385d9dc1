"""Predictions against annotations: which belong together, what is measured, and the table of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.evaluation.image_metric import (
    IMAGE_METRICS,
    ImageMetric,
    ImagePair,
    MetricOptions,
)
from cellseg_mmdet.structures import ImagePrediction, ImageRecord

Postprocess = Callable[[ImagePrediction], ImagePrediction]


def build_metrics(names: Sequence[str], options: MetricOptions) -> dict[str, ImageMetric]:
    """Build metrics by name.

    Raises:
        DataError: for an unknown name, listing the known ones, or an option that a metric lacks.
    """
    return {name: IMAGE_METRICS.get(name)(options) for name in names}


def records_by_image_id(
    records: Sequence[ImageRecord], source: str = "annotations"
) -> dict[str, ImageRecord]:
    """Return the records by file name without folder and suffix: so predictions name images.

    Raises:
        DataError: if two share it.
    """
    by_id: dict[str, ImageRecord] = {}
    for record in records:
        image_id = Path(record.file_name).stem
        if image_id in by_id:
            raise DataError(
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
    """Return ``image`` (its id), ``cell_type`` and ``measured``: what each metric measures, by name.

    Raises:
        DataError: if the image is not annotated, or annotated with another size.
    """
    if prediction.image_id not in records:
        known = ", ".join(sorted(records)[:3])
        raise DataError(
            f"image {prediction.image_id!r} is not in {source}; its {len(records)} are {known}, ..."
        )
    record = records[prediction.image_id]
    if (record.height, record.width) != (prediction.height, prediction.width):
        raise DataError(
            f"image {prediction.image_id!r} is {record.height} x {record.width} pixels in {source} "
            f"but {prediction.height} x {prediction.width} in the prediction"
        )
    raw = ImagePair(prediction, record)
    final = raw if postprocess is None else ImagePair(postprocess(prediction), record)
    measured = {
        name: metric.measure(raw if metric.on_raw else final) for name, metric in metrics.items()
    }
    return {"image": prediction.image_id, "cell_type": record.cell_type, "measured": measured}


def measure_images(
    predictions: Sequence[ImagePrediction],
    records: Sequence[ImageRecord],
    metrics: Mapping[str, ImageMetric],
    postprocess: Postprocess | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield `measure_image` of each prediction.

    Raises:
        DataError: before the first, if an annotated image has no prediction; and as
            `measure_image`.
    """
    by_id = records_by_image_id(records)
    missing = sorted(by_id.keys() - {prediction.image_id for prediction in predictions})
    if missing:
        raise DataError(
            f"{len(missing)} of {len(by_id)} annotated images have no prediction: "
            f"{', '.join(missing[:5])}"
        )
    for prediction in predictions:
        yield measure_image(prediction, by_id, metrics, postprocess)


def summarise(
    images: Sequence[Mapping[str, Any]], metrics: Mapping[str, ImageMetric]
) -> dict[str, float]:
    """Return the scores of all metrics for what `measure_image` returned for each image."""
    scores: dict[str, float] = {}
    for name, metric in metrics.items():
        scores |= metric.summarise([image["measured"][name] for image in images])
    return scores


def summarise_by_type(
    images: Sequence[Mapping[str, Any]], metrics: Mapping[str, ImageMetric]
) -> dict[str, dict[str, float]]:
    """Return `summarise` of the images of each cell type, sorted; images of no known type are in none."""
    of_type: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for image in images:
        if image["cell_type"] is not None:
            of_type[image["cell_type"]].append(image)
    return {cell_type: summarise(of_type[cell_type], metrics) for cell_type in sorted(of_type)}


def summarise_all(
    images: Sequence[Mapping[str, Any]], metrics: Mapping[str, ImageMetric]
) -> dict[str, float]:
    """Return the scores of all images, and of each cell type as ``<score>_<cell type>``."""
    return summarise(images, metrics) | {
        f"{name}_{cell_type}": score
        for cell_type, scores in summarise_by_type(images, metrics).items()
        for name, score in scores.items()
    }


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

    Returns:
        The scores of all images, and of each cell type as ``<score>_<cell type>``.

    Raises:
        DataError: if predictions and annotations are not of the same images, or not of the same
            size.
    """
    built = build_metrics(metrics, options or MetricOptions())
    return summarise_all(list(measure_images(predictions, records, built, postprocess)), built)


def format_scores(scores: Mapping[str, float]) -> str:
    """Return the scores as a table, one line each."""
    width = max(map(len, scores), default=0)
    return "\n".join(f"{name:<{width}}  {score:.4f}" for name, score in scores.items())
