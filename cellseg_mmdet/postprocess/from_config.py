"""The post-processing that a config file asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cellseg_mmdet.config_content import class_names, read_config
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.postprocess.pipeline import Pipeline, build_pipeline

if TYPE_CHECKING:
    from mmengine.config import Config


def pipeline_from_config(config: Config | str | os.PathLike[str]) -> Pipeline:
    """Build the ``postprocess`` list of a config, of a config file, or of a shipped config by its name.

    Raises:
        UsageError: there is no such file and no such name.
        ConfigError: if the config has no ``postprocess`` list, or one with a fault.
    """
    if isinstance(config, str | os.PathLike):
        config = read_config(config)
    if not isinstance(config.get("postprocess"), list):
        raise ConfigError(
            f"{config.filename} has no list `postprocess`; write postprocess = [dict(type=...), ...], or [] "
            "to do no more than give every pixel to one cell"
        )
    try:
        return build_pipeline(config.postprocess, class_names(config))
    except ConfigError as error:
        raise ConfigError(f"{config.filename}: {error}") from error
