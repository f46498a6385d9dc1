"""The post-processing that a config file asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellseg_mmdet import config_files
from cellseg_mmdet.postprocess.pipeline import Pipeline, build_pipeline

if TYPE_CHECKING:
    from mmengine.config import Config


def read_config(config: str | os.PathLike[str]) -> Config:
    """Read a config, a file or the name of a shipped one; needs mmengine, but no model: what it imports is left alone.

    Raises:
        UsageError: there is no such file and no such name.
    """
    return config_files.read_config(config, import_custom_modules=False)


def pipeline_from_config(config: Config | str | os.PathLike[str]) -> Pipeline:
    """Build the ``postprocess`` list of a config, of a config file, or of a shipped config by its name.

    Raises:
        UsageError: there is no such file and no such name.
        ValueError: if the config has no ``postprocess`` list, or one with a fault.
    """
    if isinstance(config, str | os.PathLike):
        config = read_config(config)
    if not isinstance(config.get("postprocess"), list):
        raise ValueError(
            f"{config.filename} has no list `postprocess`; write postprocess = [dict(type=...), ...], or [] "
            "to do no more than give every pixel to one cell"
        )
    try:
        return build_pipeline(config.postprocess, class_names(config))
    except ValueError as error:
        raise ValueError(f"{config.filename}: {error}") from error


def class_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes of the config's data sets in the order of the labels; None if not said."""
    for loader in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = (config.get(loader) or {}).get("dataset") or {}
        while "dataset" in dataset:  # wrappers such as RepeatDataset
            dataset = dataset["dataset"]
        if dataset.get("single_class"):
            return (dataset["single_class"],)
        classes = (dataset.get("metainfo") or {}).get("classes")
        if classes:
            return (classes,) if isinstance(classes, str) else tuple(classes)
    classes = (config.get("metainfo") or {}).get("classes")
    return tuple(classes) if classes else None
