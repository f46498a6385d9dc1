"""What is scored against what: predictions and annotations from files of any kind, and a config's say in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cellseg_mmdet.annotations.cell_csv import ANY_CELL
from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.config_content import cell_metrics, class_names, read_config
from cellseg_mmdet.evaluation.image_metric import MetricOptions, metric_names
from cellseg_mmdet.evaluation.report import Report, evaluate
from cellseg_mmdet.evaluation.scoring import records_by_image_id
from cellseg_mmdet.evaluation.sources import (
    CellSource,
    Context,
    known_sizes,
    needs_config,
    read_source,
)
from cellseg_mmdet.export.check import find_images
from cellseg_mmdet.images import image_size_hw
from cellseg_mmdet.postprocess import Pipeline
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.structures import ImagePrediction, ImageRecord

if TYPE_CHECKING:  # a csv file is scored without mmengine
    from mmengine.config import Config

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """Predictions, the annotations of the same images, and how the ones are scored by the others.

    Attributes:
        predictions: raw ones of a dump, or the final cells of another kind of file.
        records: the annotated images.
        about: the files: ``predictions``, ``annotations`` and, if there is one, ``config``.
        config: None without such a file.
        has_scores: whether the predictions have scores, as those of dumps and COCO results have.
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
    on_error: OnError = "stop",
) -> Report:
    """Score the predictions of a file; arguments and errors are those of `read_scoring_task`."""
    task = read_scoring_task(
        predictions,
        annotations,
        config=config,
        postprocess=postprocess,
        images_dir=images_dir,
        on_error=on_error,
    )
    return task.evaluate()


def read_scoring_task(
    predictions: PathLike,
    annotations: PathLike,
    *,
    config: PathLike | None = None,
    postprocess: bool = True,
    images_dir: PathLike | None = None,
    on_error: OnError = "stop",
) -> ScoringTask:
    """Read predictions and the truth that they are scored by, each from a file or folder of any kind of `sources`.

    Args:
        predictions: what cellseg test or infer wrote, or another kind of file.
        annotations: of the same images.
        config: of a dump of raw predictions: its `postprocess` list, class names and detection cap of COCO AP. Other
            kinds need none of these: their cells are final.
        postprocess: whether the config's list is applied to a dump.
        images_dir: where a csv file finds the sizes of its images if neither file says them.
        on_error: 'skip' leaves entries out that cannot be used, of annotations and COCO results, and logs their number.

    Raises:
        FileNotFoundError: if a file does not exist.
        UsageError: if there is a dump and no config.
        DataError: if a file is damaged, or of other images.
    """
    found = read_source(predictions, on_error=on_error)
    true = read_source(annotations, on_error=on_error)
    about = {"predictions": os.fspath(predictions), "annotations": os.fspath(annotations)}
    about |= {} if config is None else {"config": os.fspath(config)}
    parsed = None if config is None else read_config(config)
    for source, path in ((found, predictions), (true, annotations)):
        if source.is_raw and parsed is None:
            raise needs_config(path)
    options = MetricOptions() if parsed is None else _options(parsed)
    pipeline = None
    if parsed is not None and postprocess and (found.is_raw or true.is_raw):
        pipeline = pipeline_from_config(parsed)
    context = known_sizes(Context(sizes_in(images_dir)), found, true)
    context = replace(context, classes=options.classes, postprocess=pipeline)
    records = true.records(context)
    context = replace(context, sizes_hw=dict(context.sizes_hw) | _sizes_of(records, about))
    return ScoringTask(
        found.predictions(context),
        records,
        about,
        parsed,
        has_scores=found.has_scores,
        postprocess=pipeline if found.is_raw else None,
        options=_with_classes(options, found, true, records, context),
    )


def _with_classes(
    options: MetricOptions,
    found: CellSource,
    true: CellSource,
    records: Sequence[ImageRecord],
    context: Context,
) -> MetricOptions:
    """Return the options with the classes of the predictions, and a single class where one side tells none apart."""
    if not found.has_scores:
        return options  # nothing that looks at classes is measured
    if not found.is_raw:  # the labels are those of its own categories, not of a config
        classes = found.classes or (context.index.classes if context.index else None)
        options = replace(options, classes=classes)
        named = {name for record in records for name in record.categories}
        if classes is not None and len(classes) == 1 and not named <= set(classes):
            return replace(options, single_class=classes[0])
    if not true.says_types:
        options = replace(options, single_class=ANY_CELL)
    return options


def sizes_in(folder: PathLike | None) -> dict[str, tuple[int, int]]:
    """Return height and width of the images of a folder by id; none without a folder.

    Raises:
        NotADirectoryError: there is no such folder.
        DataError: it holds no image, or one that cannot be read.
    """
    images = {} if folder is None else find_images(folder)
    return {image_id: image_size_hw(path) for image_id, path in images.items()}


def options_from_config(path: PathLike) -> MetricOptions:
    """Return the class names of a config, and the options of its `CellMetric`; needs mmengine, but no model.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    return _options(read_config(path))


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


def _sizes_of(
    records: Sequence[ImageRecord], about: Mapping[str, str]
) -> dict[str, tuple[int, int]]:
    by_id = records_by_image_id(records, about["annotations"])
    return {image_id: (record.height, record.width) for image_id, record in by_id.items()}
