"""What a report on a run is made of: predictions, truth, images and config, read from their files; and what each
image has to tell."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.config_content import dataset_of
from cellseg_mmdet.errors import DataError, ImageError, UsageError
from cellseg_mmdet.evaluation.files import read_scoring_task
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.measuring import compiled_groups, groups_in
from cellseg_mmdet.evaluation.outcomes import Outcomes, find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.evaluation.report import Report
from cellseg_mmdet.evaluation.scoring import records_by_image_id
from cellseg_mmdet.images import open_image
from cellseg_mmdet.measure import Measurements, measure_image
from cellseg_mmdet.measure.summary import Summary
from cellseg_mmdet.postprocess import Pipeline
from cellseg_mmdet.postprocess.score_threshold import ScoreThreshold
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.structures import ImagePrediction, ImageRecord
from cellseg_mmdet.visualization.draw.pictures import find_picture

PathLike = str | os.PathLike[str]

SCORE_THRESHOLDS = tuple(percent / 100 for percent in range(5, 100, 5))


@dataclass(frozen=True, eq=False)
class Sweep:
    """What the scores of the predicted cells of one image are worth.

    Attributes:
        score_at: the competition's score at each of `SCORE_THRESHOLDS` in place of the config's threshold.
        confidence: (M,) scores of the cells at the lowest of these thresholds, and
        iou: (M,) the best IoU of each of them with a true cell, one to one.
    """

    score_at: tuple[float, ...]
    confidence: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True, eq=False)
class ImageStudy:
    """One image of a run.

    Attributes:
        final: the predicted cells after post-processing.
        true: what is annotated.
        outcomes: what became of the cells of both.
        score: the competition's score, in [0, 1].
        sweep: None for cells without scores.
        measured: the final cells.
    """

    final: ImagePrediction
    true: ImageRecord
    outcomes: Outcomes
    score: float
    sweep: Sweep | None
    measured: Measurements


@dataclass(frozen=True, eq=False)
class RunData:
    """A run that was read and scored.

    Attributes:
        report: scores of all metrics.
        studies: of all images.
        config_text: the whole config, as it is after inheritance; empty without one.
        score_thresholds: those of the config, by class; empty without one.
        image_dir: where the images are.
        summary: the final cells, measured: with intensities where their images can be read.
    """

    report: Report
    studies: list[ImageStudy]
    config_text: str
    score_thresholds: dict[str, float]
    image_dir: Path
    summary: Summary


def read_run(
    predictions: PathLike,
    annotations: PathLike,
    config: PathLike | None = None,
    *,
    images_dir: PathLike | None = None,
    on_error: OnError = "stop",
    group: str | None = None,
) -> RunData:
    """Read and score a dump of raw predictions, or final cells of any kind of `evaluation.sources`.

    Args:
        predictions: what cellseg test wrote, or a file or folder of final cells.
        annotations: of any of these kinds as well.
        config: of the model that predicted; final cells need none, but are shown with it.
        images_dir: where the images are; by default where the config's data sets have them.
        on_error: 'skip' leaves entries out that cannot be used, of annotations and COCO results, and logs their number.
        group: see `evaluation.measuring.read_measuring_task`; by default images are grouped by their cell type, where
            it is annotated.

    Raises:
        FileNotFoundError: if a file does not exist.
        UsageError: if there is no annotated image, the folder of the images is not to be found, a dump has no config,
            or the expression of the groups does not fit.
        ValueError: if a file is damaged, or predictions and annotations are not of the same images.
    """
    pattern = None if group is None else compiled_groups(group)
    task = read_scoring_task(
        predictions, annotations, config=config, images_dir=images_dir, on_error=on_error
    )
    if not task.records:
        raise UsageError(f"{annotations} holds no image to report on")
    # Before the work of scoring, not after it.
    image_dir = _image_dir(task.config, task.records[0]) if images_dir is None else Path(images_dir)
    report = task.evaluate()
    by_id = records_by_image_id(task.records)
    pairs = [(prediction, by_id[prediction.image_id]) for prediction in task.predictions]
    groups = _groups_of(task.records, pattern)
    # Cells without scores have labels of their own, which the classes of a config need not name.
    classes = task.options.classes if task.has_scores else None
    study = partial(
        _study,
        postprocess=task.postprocess,
        classes=classes,
        groups=groups,
        image_dir=image_dir,
    )
    studies = parallel_map(study, pairs, description="comparing")
    summary = Summary(classes or ())
    for one in studies:
        summary.add(one.final, one.measured)
    return RunData(
        report=report,
        studies=studies,
        config_text="" if task.config is None else task.config.pretty_text,
        score_thresholds={} if task.postprocess is None else _score_thresholds(task.postprocess),
        image_dir=image_dir,
        summary=summary,
    )


def _groups_of(
    records: Sequence[ImageRecord], pattern: re.Pattern[str] | None
) -> dict[str, dict[str, str]]:
    """Return for each image, by the name of its file, what group it is of: column -> value."""
    if pattern is not None:
        return {record.file_name: groups_in(pattern, record.file_name) for record in records}
    types = {record.file_name: record.cell_type for record in records}
    if not any(types.values()):
        return {}
    return {name: {"cell_type": cell_type or "unknown"} for name, cell_type in types.items()}


def _measured(
    final: ImagePrediction,
    record: ImageRecord,
    classes: tuple[str, ...] | None,
    groups: Mapping[str, str],
    image_dir: Path,
) -> Measurements:
    """Measure the cells of an image; their shapes alone where it is not there or cannot be read."""
    path = find_picture(image_dir, record)
    if path is not None:
        try:
            with open_image(path) as source:
                return measure_image(final, classes, source, groups=groups)
        except (ImageError, DataError):
            pass  # who shows the image says what is wrong with it
    return measure_image(final, classes, groups=groups)


def _study(
    pair: tuple[ImagePrediction, ImageRecord],
    postprocess: Pipeline | None,
    classes: tuple[str, ...] | None,
    groups: Mapping[str, Mapping[str, str]],
    image_dir: Path,
) -> ImageStudy:
    prediction, record = pair
    final = prediction if postprocess is None else postprocess(prediction)
    overlaps = Overlaps(final.masks, record.masks)
    return ImageStudy(
        final=replace(final, soft_masks=None),  # megabytes, to pass from process to process
        true=record,
        outcomes=find_outcomes(overlaps),
        score=image_score(overlaps),
        sweep=None if postprocess is None else _sweep(prediction, record, postprocess),
        measured=_measured(final, record, classes, groups.get(record.file_name, {}), image_dir),
    )


def _sweep(prediction: ImagePrediction, record: ImageRecord, postprocess: Pipeline) -> Sweep:
    finals = [_at_threshold(postprocess, thr)(prediction) for thr in SCORE_THRESHOLDS]
    overlaps = [Overlaps(final.masks, record.masks) for final in finals]
    return Sweep(
        score_at=tuple(map(image_score, overlaps)),
        confidence=finals[0].scores,
        iou=find_outcomes(overlaps[0]).iou,
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


def _image_dir(config: Mapping[str, Any] | None, first: ImageRecord) -> Path:
    """Return the folder among those of the config's data sets that holds the first annotated image."""
    if config is None:
        raise UsageError(
            "without a config nothing says where the images are: name their folder (--images)"
        )
    tried = []
    for loader in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = dataset_of(config, loader)
        prefix = (dataset.get("data_prefix") or {}).get("img", "")
        tried.append(Path(dataset.get("data_root") or "") / prefix)
        if find_picture(tried[-1], first) is not None:
            return tried[-1]
    folders = ", ".join(dict.fromkeys(map(str, tried)))
    raise UsageError(
        f"{first.file_name} is in none of the folders of the config ({folders}): name that of the images (--images)"
    )
