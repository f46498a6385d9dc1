"""What is scored against what: predictions and annotations from files of any kind, and a config's say in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cellseg_mmdet.annotations.cell_csv import ANY_CELL, CellTable, is_csv, read_cell_table
from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.config_content import cell_metrics, class_names, read_config
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.image_metric import MetricOptions, metric_names
from cellseg_mmdet.evaluation.report import Report, evaluate
from cellseg_mmdet.evaluation.scoring import records_by_image_id
from cellseg_mmdet.export.check import find_images
from cellseg_mmdet.images import image_size_hw
from cellseg_mmdet.postprocess import Pipeline
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.structures import ImagePrediction, ImageRecord, from_records, load_predictions

if TYPE_CHECKING:  # a csv file is scored without mmengine
    from mmengine.config import Config

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """Predictions, the annotations of the same images, and how the ones are scored by the others.

    Attributes:
        predictions: raw ones of a dump, or the final cells of a csv file.
        records: the annotated images.
        about: the files: ``predictions``, ``annotations`` and, if there is one, ``config``.
        config: None without such a file.
        has_scores: whether the predictions have scores; those of a csv file have none.
        postprocess: what is applied to the predictions first; None for nothing.
        options: of the metrics.
    """

    predictions: Sequence[ImagePrediction]
    records: Sequence[ImageRecord]
    about: Mapping[str, str]
    config: Config | None
    has_scores: bool
    postprocess: Pipeline | None = None
    options: MetricOptions = field(default_factory=MetricOptions)

    def evaluate(self) -> Report:
        """Return all scores; there is no COCO AP of predictions without scores.

        Raises:
            ValueError: if predictions and annotations are not of the same images, of the same sizes.
        """
        return evaluate(
            self.predictions,
            self.records,
            metrics=metric_names(needing_scores=self.has_scores),
            postprocess=self.postprocess,
            options=self.options,
            about=self.about,
        )


def evaluate_files(
    predictions: PathLike,
    annotations: PathLike,
    *,
    config: PathLike | None = None,
    postprocess: bool = True,
    images_dir: PathLike | None = None,
) -> Report:
    """Score the predictions of a file; arguments and errors are those of `read_scoring_task`."""
    task = read_scoring_task(
        predictions, annotations, config=config, postprocess=postprocess, images_dir=images_dir
    )
    return task.evaluate()


def read_scoring_task(
    predictions: PathLike,
    annotations: PathLike,
    *,
    config: PathLike | None = None,
    postprocess: bool = True,
    images_dir: PathLike | None = None,
) -> ScoringTask:
    """Read a dump of raw predictions, or a csv file of final cells, and the annotations that it is scored by.

    Args:
        predictions: what cellseg test wrote, or a csv: a submission, or in the layout of train.csv.
        annotations: COCO json, MMDetection pickle, or a csv of either kind.
        config: of the dump: its `postprocess` list, class names and detection cap of COCO AP. A csv
            needs none of these: its cells are final.
        postprocess: whether the config's list is applied to a dump.
        images_dir: where a csv file finds the sizes of its images if neither file says them.

    Raises:
        FileNotFoundError: if a file does not exist.
        UsageError: if there is a dump and no config.
        ValueError: if a file is damaged, or a csv is of other images.
    """
    found = read_cell_table(predictions) if is_csv(predictions) else load_predictions(predictions)
    true = read_cell_table(annotations) if is_csv(annotations) else read_annotations(annotations)
    about = {"predictions": os.fspath(predictions), "annotations": os.fspath(annotations)}
    about |= {} if config is None else {"config": os.fspath(config)}
    parsed = None if config is None else read_config(config)
    if isinstance(found, CellTable):
        return _task_of_cells(found, true, about, parsed, images_dir)
    if parsed is None:
        raise UsageError(
            f"{predictions} holds raw predictions: --config must name the file with their "
            "post-processing and classes"
        )
    options = _options(parsed)
    if isinstance(true, CellTable):
        if not true.says_types:
            options = replace(options, single_class=ANY_CELL)
        true = true.to_records({image.image_id: (image.height, image.width) for image in found})
    return ScoringTask(
        found,
        true,
        about,
        parsed,
        has_scores=True,
        postprocess=pipeline_from_config(parsed) if postprocess else None,
        options=options,
    )


def options_from_config(path: PathLike) -> MetricOptions:
    """Return the class names of a config, and the options of its `CellMetric`; needs mmengine, but no model.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    return _options(read_config(path))


def _task_of_cells(
    found: CellTable,
    true: CellTable | list[ImageRecord],
    about: Mapping[str, str],
    config: Config | None,
    images_dir: PathLike | None,
) -> ScoringTask:
    sizes_hw = _sizes_in(images_dir) | found.sizes_hw
    records = true.to_records(sizes_hw) if isinstance(true, CellTable) else true
    sizes_hw |= {
        image_id: (record.height, record.width)
        for image_id, record in records_by_image_id(records, about["annotations"]).items()
    }
    final = from_records(found.to_records(sizes_hw))
    return ScoringTask(final, records, about, config, has_scores=False)


def _options(config: Config) -> MetricOptions:
    # The images of test_evaluator may have no annotations, and it no metric.
    metrics = [
        *cell_metrics(config, "test_evaluator"),
        *cell_metrics(config, "val_evaluator"),
        {},
    ]
    return MetricOptions(
        classes=class_names(config),
        single_class=metrics[0].get("single_class"),
        coco_max_dets=metrics[0].get("coco_max_dets", MetricOptions.coco_max_dets),
    )


def _sizes_in(folder: PathLike | None) -> dict[str, tuple[int, int]]:
    images = {} if folder is None else find_images(folder)
    return {image_id: image_size_hw(path) for image_id, path in images.items()}
