"""What a report on a run is made of: predictions, truth, images and config, read from their files; and what each
image has to tell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.converters.annotations import read_annotations
from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.cell_csv import ANY_CELL, is_csv, read_cell_table
from cellseg_mmdet.evaluation.files import options_from_config
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.evaluation.report import Report, evaluate
from cellseg_mmdet.evaluation.scoring import records_by_image_id
from cellseg_mmdet.postprocess import Pipeline
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.postprocess.score_threshold import ScoreThreshold
from cellseg_mmdet.predictions import ImagePrediction, load_predictions
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.visualization.outcomes import Outcomes, find_outcomes

PathLike = str | os.PathLike[str]

SCORE_THRESHOLDS = tuple(percent / 100 for percent in range(10, 100, 10))


@dataclass(frozen=True, eq=False)
class ImageStudy:
    """One image of a run.

    Attributes:
        final: the predicted cells after post-processing.
        true: what is annotated.
        outcomes: what became of the cells of both.
        score: the competition's score, in [0, 1].
        score_at: the same at each of `SCORE_THRESHOLDS` in place of the config's threshold.
        confidence: (M,) scores of the cells at the lowest of these thresholds, and
        iou: (M,) the best IoU of each of them with a true cell, one to one.
    """

    final: ImagePrediction
    true: ImageRecord
    outcomes: Outcomes
    score: float
    score_at: tuple[float, ...]
    confidence: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True, eq=False)
class RunData:
    """A run that was read and scored.

    Attributes:
        report: scores of all metrics.
        studies: of all images.
        config_text: the whole config, as it is after inheritance.
        score_thresholds: those of the config, by class; empty without one.
        image_dir: where the images are.
    """

    report: Report
    studies: list[ImageStudy]
    config_text: str
    score_thresholds: dict[str, float]
    image_dir: Path


def read_run(
    predictions: PathLike,
    annotations: PathLike,
    config: PathLike,
    *,
    images_dir: PathLike | None = None,
) -> RunData:
    """Read and score a dump of raw predictions.

    Args:
        predictions: what tools/test.py wrote.
        annotations: COCO json, MMDetection pickle, or a csv file of cells.
        config: of the model that predicted: post-processing, class names.
        images_dir: where the images are; by default where the config's data sets have them.

    Raises:
        FileNotFoundError: if a file does not exist.
        UsageError: if there is no annotated image, or the folder of the images is not to be found.
        ValueError: if a file is damaged, or predictions and annotations are not of the same images.
    """
    from mmengine.config import Config

    parsed = Config.fromfile(config, import_custom_modules=False)
    found = load_predictions(predictions)
    options, postprocess = options_from_config(config), pipeline_from_config(config)
    if is_csv(annotations):
        cells = read_cell_table(annotations)
        records = cells.to_records({image.image_id: (image.height, image.width) for image in found})
        if not cells.says_types:
            options = replace(options, single_class=ANY_CELL)
    else:
        records = read_annotations(annotations)
    if not records:
        raise UsageError(f"{annotations} holds no image to report on")
    # Before the work of scoring, not after it.
    image_dir = _image_dir(parsed, config, records[0]) if images_dir is None else Path(images_dir)
    about = {"predictions": predictions, "annotations": annotations, "config": config}
    report = evaluate(
        found,
        records,
        postprocess=postprocess,
        options=options,
        about={name: os.fspath(path) for name, path in about.items()},
    )
    by_id = records_by_image_id(records)
    pairs = [(prediction, by_id[prediction.image_id]) for prediction in found]
    return RunData(
        report=report,
        studies=parallel_map(
            partial(_study, postprocess=postprocess), pairs, description="comparing"
        ),
        config_text=parsed.pretty_text,
        score_thresholds=_score_thresholds(postprocess),
        image_dir=image_dir,
    )


def _study(pair: tuple[ImagePrediction, ImageRecord], postprocess: Pipeline) -> ImageStudy:
    prediction, record = pair
    final = postprocess(prediction)
    overlaps = Overlaps(final.masks, record.masks)
    swept = [_at_threshold(postprocess, thr)(prediction) for thr in SCORE_THRESHOLDS]
    swept_overlaps = [Overlaps(cells.masks, record.masks) for cells in swept]
    return ImageStudy(
        final=replace(final, soft_masks=None),  # megabytes, to pass from process to process
        true=record,
        outcomes=find_outcomes(overlaps),
        score=image_score(overlaps),
        score_at=tuple(map(image_score, swept_overlaps)),
        confidence=swept[0].scores,
        iou=find_outcomes(swept_overlaps[0]).iou,
    )


def _at_threshold(pipeline: Pipeline, score_thr: float) -> Pipeline:
    """Return the pipeline with another score threshold; one that has none is given it as its first step."""
    changed = ScoreThreshold(score_thr)
    if not any(isinstance(step, ScoreThreshold) for step in pipeline.steps):
        return replace(pipeline, steps=(changed, *pipeline.steps))
    return replace(
        pipeline,
        steps=tuple(changed if isinstance(s, ScoreThreshold) else s for s in pipeline.steps),
    )


def _score_thresholds(pipeline: Pipeline) -> dict[str, float]:
    """Return the threshold of each class, those that are equal for all under the name ''."""
    steps = [step for step in pipeline.steps if isinstance(step, ScoreThreshold)]
    if not steps:
        return {}
    classes = pipeline.classes or ("",)
    values = steps[-1].score_thr.of(np.arange(len(classes))).tolist()
    if len(set(values)) == 1:
        return {"": values[0]}
    return dict(zip(classes, values, strict=True))


def _image_dir(config: Mapping[str, Any], source: PathLike, first: ImageRecord) -> Path:
    """Return the folder among those of the config's data sets that holds the first annotated image."""
    tried = []
    for loader in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = (config.get(loader) or {}).get("dataset") or {}
        while "dataset" in dataset:  # wrappers such as RepeatDataset
            dataset = dataset["dataset"]
        prefix = (dataset.get("data_prefix") or {}).get("img", "")
        tried.append(Path(dataset.get("data_root") or "") / prefix)
        if (tried[-1] / first.file_name).is_file():
            return tried[-1]
    folders = ", ".join(dict.fromkeys(map(str, tried)))
    raise UsageError(
        f"{first.file_name} is in none of the folders of {source} ({folders}): name that of the images (--images)"
    )
