"""What ``cellseg train`` and ``cellseg test`` do with their arguments."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.registry import RUNNERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config
from mmengine.runner import Runner

from cellseg_mmdet import ops
from cellseg_mmdet.config_content import evaluator_list
from cellseg_mmdet.config_errors import naming_parts
from cellseg_mmdet.engine.checkpoint import register_checkpoint_loaders
from cellseg_mmdet.engine.config import (
    check_load_from,
    enable_amp,
    enable_auto_scale_lr,
    enable_tta,
    keep_maps,
    keep_soft_masks,
    load_config,
    prepare_model_cfg,
    set_resume,
    set_work_dir,
)
from cellseg_mmdet.engine.data_choice import DataChoice
from cellseg_mmdet.engine.distributed import process_group
from cellseg_mmdet.engine.folding import FoldBatchNorms
from cellseg_mmdet.engine.loading import WatchLoaders, naming_lost_items
from cellseg_mmdet.engine.prediction_dump import check_output
from cellseg_mmdet.engine.weights import CheckWeights
from cellseg_mmdet.engine.whole_files import WholeRunner, naming
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.mask_pipelines import check_pipelines
from cellseg_mmdet.shipped import model_files


def run_training(args: Namespace) -> None:
    """Train the model of a config; ``args`` are those of ``cellseg train``.

    Raises:
        UsageError: config or checkpoint is missing, or an argument does not go with the config or
        the machine. ConfigError: a transform would leave masks behind.
        CheckpointError: the checkpoint is refused, damaged, or of another model.
    """
    cfg = training_config(args)
    with (
        naming(cfg.work_dir),
        naming_parts(args.config),
        process_group(cfg.launcher, dist_cfg(cfg)),
    ):
        runner = build_runner(cfg)
        if cfg.get("load_from"):
            check = CheckWeights(cfg.load_from, strict=cfg.resume, resume=cfg.resume)
            runner.register_hook(check)
        with naming_lost_items(runner):
            runner.train()


def run_testing(args: Namespace) -> dict[str, float]:
    """Predict the test set, score and dump it; ``args`` are those of ``cellseg test``.

    Raises:
        UsageError: config or checkpoint is missing, ``--out`` cannot be written, or nothing would
        come of the run. CheckpointError: the checkpoint is refused, damaged, or of another model.
    """
    cfg = testing_config(args)
    with (
        naming(cfg.work_dir),
        naming_parts(args.config),
        process_group(cfg.launcher, dist_cfg(cfg)),
    ):
        runner = build_runner(cfg)
        runner.register_hook(CheckWeights(cfg.load_from, strict=True))
        runner.register_hook(FoldBatchNorms())
        with naming_lost_items(runner):
            return runner.test()


def training_config(args: Namespace) -> Config:
    """Return the config with everything in it that the arguments of ``cellseg train`` ask for."""
    cfg = _common_config(args)
    if not cfg.get("train_dataloader"):
        raise UsageError(
            f"{args.config} has no train_dataloader, as configs for inference alone: give the config of a training; "
            "to begin with the weights of a model that ships, set load_from = 'shipped://NAME' in it"
        )
    check_pipelines(cfg)
    if args.amp:
        enable_amp(cfg)
    cfg.setdefault("resume", False)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    set_resume(cfg, args.resume)
    check_load_from(cfg)
    return cfg


def testing_config(args: Namespace) -> Config:
    """Return the config with everything in it that the arguments of ``cellseg test`` ask for."""
    cfg = _common_config(args)
    # What the config's own training started from or resumed does not matter here.
    _, cfg.load_from = model_files(args.config, args.checkpoint)
    cfg.resume = False
    check_load_from(cfg)
    if args.soft_masks:
        if not args.out:
            raise UsageError("--soft-masks are part of the file of predictions: give --out too")
        keep_soft_masks(cfg)
    if args.maps:
        if not args.out:
            raise UsageError("--maps are part of the file of predictions: give --out too")
        keep_maps(cfg)
    if args.tta:
        enable_tta(cfg)
    if args.show or args.show_dir:
        cfg = trigger_visualization_hook(cfg, args)
    metrics = evaluator_list(cfg, "test_evaluator")  # none where the images have no annotations
    if args.out:
        check_output(args.out)
        metrics.append({"type": "DumpPredictions", "out_file_path": args.out})
    if not (metrics or args.show or args.show_dir):
        raise UsageError(
            f"{args.config} has no test_evaluator: give --out or --show-dir, "
            "or nothing comes of the test"
        )
    cfg.test_evaluator = metrics
    return cfg


def _common_config(args: Namespace) -> Config:
    setup_cache_size_limit_of_dynamo()
    register_checkpoint_loaders(trust=args.trust_checkpoint)
    cfg = load_config(args.config, args.cfg_options, DataChoice.from_arguments(args))
    cfg.launcher = args.launcher
    set_work_dir(cfg, args.work_dir)
    return cfg


def dist_cfg(cfg: Config) -> dict[str, Any]:
    """Return the settings of the process group."""
    return cfg.get("env_cfg", {}).get("dist_cfg", {})


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config for this machine and its processes."""
    prepare_model_cfg(cfg, cfg.launcher)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else WholeRunner.from_cfg(cfg)
    runner.register_hook(WatchLoaders())
    runner.logger.info(f"mmcv's operators: {ops.in_use()}")
    return runner
