"""From a config file and a command line to the config that a Runner gets."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from cellseg_mmdet.config_content import cell_metrics, dataset_of
from cellseg_mmdet.config_files import read_config
from cellseg_mmdet.engine.checkpoint import newest_checkpoint
from cellseg_mmdet.engine.data_choice import DataChoice, choose_data
from cellseg_mmdet.engine.distributed import adapt_model_wrapper, revert_sync_bn
from cellseg_mmdet.errors import ConfigError, UsageError, shown

EVALUATORS = ("val_evaluator", "test_evaluator")


def load_config(
    config: str | Path,
    cfg_options: Mapping[str, Any] | None = None,
    data: DataChoice | None = None,
) -> Config:
    """Read a config, write the choice of data into it, merge the user's options over it, and let its parts agree.

    mmdet's registries are ready afterwards: its parts and those of ``custom_imports`` can be built
    by name.

    Args:
        config: file, or name of a shipped config, see :func:`cellseg_mmdet.config_files.config_path`.
        cfg_options: key -> value, with dots in the keys, as ``--cfg-options`` gives them.
        data: see :func:`choose_data`; the environment is asked in any case.

    Raises:
        UsageError: there is no such config, or it lacks what is to be chosen.
        ConfigError: it cannot be read, or an option does not go into it.
    """
    cfg = read_config(config)
    choose_data(cfg, data)
    if cfg_options:
        try:
            cfg.merge_from_dict(dict(cfg_options))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            text = " ".join(str(error).split())
            raise ConfigError(
                f"config {cfg.filename}: the settings {shown(cfg_options)} cannot be put into it: {text}"
            ) from error
    init_default_scope(cfg.get("default_scope", "mmdet"))
    share_postprocess(cfg)
    return cfg


def share_postprocess(cfg: Config) -> None:
    """Give the config's ``postprocess`` to each ``CellMetric`` that has none of its own.

    So what validation scores is what gets submitted.
    """
    if "postprocess" not in cfg:
        return
    for key in EVALUATORS:
        for metric in cell_metrics(cfg, key):
            metric.setdefault("postprocess", copy.deepcopy(cfg.postprocess))


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Choose the folder of a run: the argument, else the config's, else ``work_dirs/<name>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(cfg.filename).stem)


def prepare_model_cfg(cfg: Config, launcher: str = "none") -> None:
    """Fit a config's model to this machine and the number of processes, before it is built.

    Raises:
        ConfigError: there is none.
    """
    check_model(cfg)
    revert_sync_bn(cfg, launcher)
    adapt_model_wrapper(cfg, launcher)


def check_model(cfg: Config) -> None:
    """Raise ConfigError where a config has no model, as one of a data set alone."""
    if not isinstance(cfg.get("model"), Mapping):
        raise ConfigError(
            f"config {cfg.filename}: model is {shown(cfg.get('model'))}; it must be a dict"
        )


def enable_amp(cfg: Config) -> None:
    """Train with automatic mixed precision.

    Raises:
        UsageError: there is no GPU, or the config has an optimizer wrapper that is neither plain
            nor mixed.
    """
    # mmengine's AmpOptimWrapper only asserts this, and only after the data set was read.
    if not torch.cuda.is_available():
        raise UsageError(
            "--amp needs a CUDA device, and PyTorch sees none: leave it out, or check the driver"
        )
    wrapper = cfg.optim_wrapper.get("type", "OptimWrapper")
    if wrapper not in ("OptimWrapper", "AmpOptimWrapper"):
        raise UsageError(
            f"--amp replaces OptimWrapper, but the config's optim_wrapper.type is {wrapper!r}"
        )
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by (processes x batch size) / ``auto_scale_lr.base_batch_size``.

    Raises:
        UsageError: the config does not say which batch size its learning rate is made for.
    """
    if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
        raise UsageError(
            "--auto-scale-lr needs the batch size that the learning rate is made for: "
            "add auto_scale_lr = dict(enable=False, base_batch_size=...) to the config"
        )
    cfg.auto_scale_lr.enable = True


def keep_soft_masks(cfg: Config) -> None:
    """Have what makes the masks keep their probabilities, for the dump of predictions.

    That is the mask head, or the detector itself where it has none. Call it before :func:`enable_tta`.

    Raises:
        UsageError: it cannot.
    """
    parts = (cfg.model.get("roi_head") or {}).get("mask_head") or cfg.model
    parts = [parts] if isinstance(parts, dict) else parts  # a cascade has several mask heads
    types = [part["type"] for part in parts]
    if not all(map(_keeps_soft_masks, types)):
        raise UsageError(
            "--soft-masks needs a mask head RoIFCNMaskHead or RoIHTCMaskHead, or the detector "
            f"PixelDetector; the config has {', '.join(map(str, types))}"
        )
    for part in parts:
        part["soft_masks"] = True


def keep_maps(cfg: Config) -> None:
    """Have a pixel model keep its maps, for the dump of predictions. Call it before :func:`enable_tta`.

    Raises:
        UsageError: the model has none.
    """
    model_class = MODELS.get(cfg.model["type"])
    if model_class is None or "dumps_maps" not in inspect.signature(model_class).parameters:
        raise UsageError(
            f"--maps needs the detector PixelDetector; the config has {cfg.model['type']}"
        )
    cfg.model["dumps_maps"] = True


def _keeps_soft_masks(part_type: str | type) -> bool:
    part_class = MODELS.get(part_type) if isinstance(part_type, str) else part_type
    return part_class is not None and "soft_masks" in inspect.signature(part_class).parameters


def enable_tta(cfg: Config) -> None:
    """Test with the views of ``tta_pipeline``, merged by ``tta_model``, in place of the image itself.

    Raises:
        UsageError: the config lacks one of the two.
    """
    for key in ("tta_model", "tta_pipeline"):
        if not cfg.get(key):
            raise UsageError(
                f"--tta needs {key}, which {cfg.filename} has not: see `views` in configs/_base_/parts/cell_data.py"
            )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset_of(cfg, "test_dataloader")["pipeline"] = cfg.tta_pipeline


def set_resume(cfg: Config, resume: str | None) -> None:
    """Continue a run from the checkpoint named, or for ``'auto'`` the newest of its work dir.

    A work dir without checkpoints is a first start: the config's own ``load_from`` stays what it
    is, so that one command both starts and continues a job that may be interrupted. A config that says
    ``resume = True`` itself asks for the same. Call :func:`set_work_dir` before.

    Raises:
        CheckpointError: there are checkpoints, and none can be resumed from.
    """
    if resume is None and cfg.get("resume") and not cfg.get("load_from"):
        resume = "auto"
    if resume is None:
        return
    checkpoint = newest_checkpoint(cfg.work_dir) if resume == "auto" else resume
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = checkpoint


def check_load_from(cfg: Config) -> None:
    """Raise UsageError for a missing local checkpoint, before data set and model are built."""
    name = cfg.get("load_from")
    if name and "://" not in name and not Path(name).expanduser().is_file():
        raise UsageError(f"checkpoint {name}: there is no such file")
