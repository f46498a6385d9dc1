"""What is scored against what: predictions and annotations from files of any kind, and a config's say in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cellseg_mmdet.converters.annotations import read_annotations
from cellseg_mmdet.converters.images import read_image_size
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.cell_csv import ANY_CELL, CellTable, is_csv, read_cell_table
from cellseg_mmdet.evaluation.image_metric import MetricOptions
from cellseg_mmdet.evaluation.report import MASK_METRICS, Report, evaluate
from cellseg_mmdet.evaluation.scoring import records_by_image_id
from cellseg_mmdet.export.check import find_images
from cellseg_mmdet.postprocess.from_config import class_names, pipeline_from_config
from cellseg_mmdet.predictions import from_records, load_predictions

PathLike = str | os.PathLike[str]


def evaluate_files(
    predictions: PathLike,
    annotations: PathLike,
    *,
    config: PathLike | None = None,
    postprocess: bool = True,
    images_dir: PathLike | None = None,
) -> Report:
    """Score a dump of raw predictions, or a csv file of final cells, against annotations.

    Args:
        predictions: what tools/test.py wrote, or a csv: a submission, or in the layout of train.csv.
        annotations: COCO json, MMDetection pickle, or a csv of either kind.
        config: of the dump: its `postprocess` list, class names and detection cap of COCO AP. A csv
            needs none: its cells are final, and have no scores, so that there is no COCO AP of them.
        postprocess: whether the config's list is applied.
        images_dir: where a csv file finds the sizes of its images if neither file says them.

    Raises:
        FileNotFoundError: if a file does not exist.
        UsageError: if there is a dump and no config.
        ValueError: if a file is damaged, or the two are not of the same images, of the same sizes.
    """
    found = read_cell_table(predictions) if is_csv(predictions) else load_predictions(predictions)
    true = read_cell_table(annotations) if is_csv(annotations) else read_annotations(annotations)
    sizes_hw = _sizes_in(images_dir)
    if isinstance(found, CellTable):
        sizes_hw |= found.sizes_hw
    else:
        sizes_hw |= {image.image_id: (image.height, image.width) for image in found}
    records = true.to_records(sizes_hw) if isinstance(true, CellTable) else true
    sizes_hw |= {
        image_id: (record.height, record.width)
        for image_id, record in records_by_image_id(records, os.fspath(annotations)).items()
    }
    about = {"predictions": os.fspath(predictions), "annotations": os.fspath(annotations)}
    if isinstance(found, CellTable):
        final = from_records(found.to_records(sizes_hw))
        return evaluate(final, records, metrics=MASK_METRICS, about=about)

    if config is None:
        raise UsageError(
            f"{predictions} holds raw predictions: --config must name the file with their "
            "post-processing and classes"
        )
    options = options_from_config(config)
    if isinstance(true, CellTable) and not true.says_types:
        options = replace(options, single_class=ANY_CELL)
    return evaluate(
        found,
        records,
        postprocess=pipeline_from_config(config) if postprocess else None,
        options=options,
        about=about | {"config": os.fspath(config)},
    )


def options_from_config(path: PathLike) -> MetricOptions:
    """Return the class names of a config, and the options of its `CellMetric`; needs mmengine, but no model.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    from mmengine.config import Config

    config = Config.fromfile(path, import_custom_modules=False)
    # The images of test_evaluator may have no annotations, and it no metric.
    metrics = [*_metrics(config, "test_evaluator"), *_metrics(config, "val_evaluator"), {}]
    return MetricOptions(
        classes=class_names(config),
        single_class=metrics[0].get("single_class"),
        coco_max_dets=metrics[0].get("coco_max_dets", MetricOptions.coco_max_dets),
    )


def _metrics(config: Mapping[str, Any], evaluator: str) -> list[Mapping[str, Any]]:
    """Return the `CellMetric`s of an evaluator, which may be written as one, a list or nothing."""
    metrics = config.get(evaluator) or []
    metrics = [metrics] if isinstance(metrics, Mapping) else metrics
    return [one for one in metrics if str(one["type"]).rpartition(".")[2] == "CellMetric"]


def _sizes_in(folder: PathLike | None) -> dict[str, tuple[int, int]]:
    images = {} if folder is None else find_images(folder)
    return {image_id: read_image_size(path) for image_id, path in images.items()}
