"""What a config file says, read without building anything of it; needs mmengine, but no model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellseg_mmdet import config_files
from cellseg_mmdet.errors import needs

if TYPE_CHECKING:
    from mmengine.config import Config


def read_config(config: str | os.PathLike[str]) -> Config:
    """Read a config, a file or the name of a shipped one; what it imports is left alone.

    Raises:
        UsageError: there is no such file and no such name, or mmengine is not installed.
    """
    with needs("train"):
        return config_files.read_config(config, import_custom_modules=False)


def dataset_of(config: Mapping[str, Any], loader: str) -> Any:
    """Return the data set of ``loader``, such as 'test_dataloader', without wrappers; {} if there is none.

    Of several that are joined, it is the first.

    Example:
        >>> dataset_of({"val_dataloader": {"dataset": {"dataset": {"ann_file": "a.json"}}}}, "val_dataloader")
        {'ann_file': 'a.json'}
    """
    dataset = (config.get(loader) or {}).get("dataset") or {}
    while True:
        if "dataset" in dataset:  # RepeatDataset and the like
            dataset = dataset["dataset"]
        elif dataset.get("datasets"):  # ConcatDataset
            dataset = dataset["datasets"][0]
        else:
            return dataset


def class_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes of the config's data sets in the order of the labels; None if not said."""
    for loader in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = dataset_of(config, loader)
        if dataset.get("single_class"):
            return (dataset["single_class"],)
        classes = (dataset.get("metainfo") or {}).get("classes")
        if classes:
            return (classes,) if isinstance(classes, str) else tuple(classes)
    classes = (config.get("metainfo") or {}).get("classes")
    return tuple(classes) if classes else None


def evaluator_list(config: Mapping[str, Any], key: str) -> list[Any]:
    """Return the metrics of an evaluator, such as 'test_evaluator', which may be written as one, a list or nothing."""
    evaluator = config.get(key) or []
    return [evaluator] if isinstance(evaluator, dict) else list(evaluator)


def cell_metrics(config: Mapping[str, Any], key: str) -> list[Any]:
    """Return those of `evaluator_list` that are a ``CellMetric``."""
    metrics = evaluator_list(config, key)
    return [metric for metric in metrics if str(metric["type"]).rpartition(".")[2] == "CellMetric"]
