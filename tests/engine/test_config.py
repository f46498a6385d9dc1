from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import cellseg_mmdet.models  # noqa: F401  # registers the mask heads
from cellseg_mmdet.engine import commands
from cellseg_mmdet.engine.config import (
    enable_tta,
    keep_maps,
    keep_soft_masks,
    load_config,
    set_work_dir,
    share_postprocess,
)
from cellseg_mmdet.errors import UsageError
from tests.engine.command_arguments import eval_arguments, train_arguments

STEPS = [{"type": "ScoreThreshold", "score_thr": 0.3}, {"type": "RemoveOverlaps"}]


def test_options_go_over_the_config(config_file: Path):
    cfg = load_config(config_file, {"optim_wrapper.optimizer.lr": 0.5, "val_evaluator.x": 1})

    assert cfg.optim_wrapper.optimizer == {"type": "SGD", "lr": 0.5}
    assert cfg.val_evaluator.x == 1


def test_a_missing_config_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"config .*none\.py: there is no such file"):
        load_config(tmp_path / "none.py")


def test_postprocess_reaches_every_cell_metric(config_file: Path):
    cfg = load_config(config_file)

    steps = [{"type": "ScoreThreshold", "score_thr": 0.3}]
    assert cfg.val_evaluator.postprocess == steps
    assert cfg.test_evaluator[0].postprocess == steps
    assert "postprocess" not in cfg.test_evaluator[1]
    assert cfg.val_evaluator.postprocess is not cfg.postprocess


def test_an_option_on_postprocess_reaches_the_metrics(config_file: Path):
    cfg = load_config(config_file, {"postprocess.0.score_thr": 0.7})

    assert cfg.test_evaluator[0].postprocess[0].score_thr == 0.7


def test_a_metric_keeps_its_own_postprocess():
    cfg = Config({"postprocess": STEPS, "val_evaluator": {"type": "CellMetric", "postprocess": []}})

    share_postprocess(cfg)

    assert cfg.val_evaluator.postprocess == []


@pytest.mark.parametrize("evaluator", [None, [], {"type": "CocoMetric"}])
def test_evaluators_without_a_cell_metric_stay_as_they_are(evaluator):
    cfg = Config({"postprocess": STEPS, "val_evaluator": evaluator})

    share_postprocess(cfg)

    assert cfg.val_evaluator == evaluator


@pytest.mark.parametrize(
    ("argument", "own", "expected"),
    [("a", "b", "a"), (None, "b", "b"), (None, None, "work_dirs/small")],
)
def test_the_work_dir_is_the_arguments_then_the_configs_then_its_name(
    config_file: Path, argument, own, expected
):
    cfg = load_config(config_file, {"work_dir": own})

    set_work_dir(cfg, argument)

    assert cfg.work_dir == expected


def test_amp_on_a_machine_without_a_gpu_is_refused(config_file: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(UsageError, match="--amp needs a CUDA device"):
        commands.training_config(train_arguments(config_file, amp=True))


def test_amp_changes_the_optimizer_wrapper(config_file: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    cfg = commands.training_config(train_arguments(config_file, amp=True))

    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert cfg.optim_wrapper.loss_scale == "dynamic"


def test_amp_does_not_replace_another_wrapper(config_file: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    options = {"optim_wrapper.type": "ApexOptimWrapper"}

    with pytest.raises(UsageError, match="'ApexOptimWrapper'"):
        commands.training_config(train_arguments(config_file, amp=True, cfg_options=options))


def test_auto_scale_lr_is_switched_on(config_file: Path):
    options = {"auto_scale_lr.base_batch_size": 16}

    cfg = commands.training_config(
        train_arguments(config_file, auto_scale_lr=True, cfg_options=options)
    )

    assert cfg.auto_scale_lr == {"base_batch_size": 16, "enable": True}


def test_auto_scale_lr_needs_the_batch_size(config_file: Path):
    with pytest.raises(UsageError, match=r"base_batch_size=\.\.\."):
        commands.training_config(train_arguments(config_file, auto_scale_lr=True))


def test_a_missing_checkpoint_is_named_before_anything_is_built(config_file: Path):
    with pytest.raises(UsageError, match=r"checkpoint none\.pth: there is no such file"):
        commands.training_config(train_arguments(config_file, resume="none.pth"))
    with pytest.raises(UsageError, match=r"checkpoint none\.pth: there is no such file"):
        commands.testing_config(eval_arguments(config_file, checkpoint="none.pth"))


@pytest.mark.parametrize("evaluator", [None, []], ids=["none", "empty"])
def test_a_test_set_without_annotations_needs_some_output(config_file: Path, evaluator):
    args = eval_arguments(
        config_file, checkpoint="https://x/y.pth", cfg_options={"test_evaluator": evaluator}
    )
    with pytest.raises(UsageError, match="has no test_evaluator: give --out or --show-dir"):
        commands.testing_config(args)

    args.out = str(config_file.parent / "preds.pkl")
    assert commands.testing_config(args).test_evaluator == [
        {"type": "DumpPredictions", "out_file_path": args.out}
    ]


def test_predictions_are_dumped_beside_the_metrics(config_file: Path, tmp_path: Path):
    out = str(tmp_path / "new" / "preds.pkl")

    cfg = commands.testing_config(
        eval_arguments(config_file, checkpoint="https://x/y.pth", out=out)
    )

    types = [metric["type"] for metric in cfg.test_evaluator]
    assert types == ["CellMetric", "CocoMetric", "DumpPredictions"]
    assert (cfg.load_from, cfg.resume) == ("https://x/y.pth", False)


def test_show_dir_switches_drawing_on(config_file: Path):
    cfg = commands.testing_config(
        eval_arguments(config_file, checkpoint="https://x/y.pth", show_dir="painted")
    )

    assert cfg.default_hooks.visualization.draw
    assert cfg.default_hooks.visualization.test_out_dir == "painted"


def model_with(mask_head: object) -> Config:
    return Config({"model": {"type": "FasterRCNN", "roi_head": {"mask_head": mask_head}}})


@pytest.mark.parametrize("name", ["RoIFCNMaskHead", "mmdet.RoIHTCMaskHead"])
def test_soft_masks_are_asked_of_the_mask_head(name: str):
    one, cascade = model_with({"type": name}), model_with([{"type": name}, {"type": name}])

    keep_soft_masks(one)
    keep_soft_masks(cascade)

    assert one.model.roi_head.mask_head.soft_masks
    assert all(head.soft_masks for head in cascade.model.roi_head.mask_head)


def test_soft_masks_are_asked_of_a_detector_without_mask_head():
    cfg = Config({"model": {"type": "PixelDetector"}})

    keep_soft_masks(cfg)

    assert cfg.model.soft_masks


@pytest.mark.parametrize(
    ("cfg", "found"),
    [
        (model_with({"type": "FCNMaskHead"}), "FCNMaskHead"),
        (model_with({"type": "NoSuchHead"}), "NoSuchHead"),
        (model_with(None), "FasterRCNN"),
        (Config({"model": {"type": "CondInst"}}), "CondInst"),
    ],
    ids=["mmdet's", "unknown", "without", "one stage"],
)
def test_soft_masks_of_others_are_refused(cfg: Config, found: str):
    with pytest.raises(UsageError, match=f"--soft-masks needs .* PixelDetector; .* has {found}$"):
        keep_soft_masks(cfg)


def test_soft_masks_need_a_file(config_file: Path):
    args = eval_arguments(config_file, checkpoint="https://x/y.pth", soft_masks=True)

    with pytest.raises(UsageError, match=r"--soft-masks .* give --out too"):
        commands.testing_config(args)


def test_maps_need_a_file_and_a_pixel_model(config_file: Path, tmp_path: Path):
    args = eval_arguments(config_file, checkpoint="https://x/y.pth", maps=True)
    with pytest.raises(UsageError, match=r"--maps .* give --out too"):
        commands.testing_config(args)
    args.out = str(tmp_path / "preds.pkl")
    with pytest.raises(
        UsageError, match=r"--maps needs the detector PixelDetector; .* has MaskRCNN$"
    ):
        commands.testing_config(args)
    cfg = Config({"model": {"type": "PixelDetector"}})
    keep_maps(cfg)
    assert cfg.model.dumps_maps


def test_tta_wraps_the_model_and_replaces_the_pipeline(config_file: Path, tmp_path: Path):
    views = [{"type": "TestTimeAug"}]
    options = {
        "tta_model": {"type": "CellTTAModel", "iou_thr": 0.4},
        "tta_pipeline": views,
        "test_dataloader.dataset.dataset.pipeline": [],
        "model.roi_head.mask_head.type": "RoIFCNMaskHead",
    }
    args = eval_arguments(
        config_file,
        checkpoint="https://x/y.pth",
        cfg_options=options,
        out=str(tmp_path / "preds.pkl"),
        tta=True,
        soft_masks=True,
    )

    cfg = commands.testing_config(args)

    assert (cfg.model.type, cfg.model.iou_thr) == ("CellTTAModel", 0.4)
    assert cfg.model.module.type == "MaskRCNN"
    assert cfg.model.module.roi_head.mask_head.soft_masks
    assert cfg.test_dataloader.dataset.dataset.pipeline == views


@pytest.mark.parametrize("missing", ["tta_model", "tta_pipeline"])
def test_tta_needs_its_model_and_its_views(config_file: Path, missing: str):
    parts = {"tta_model": {"type": "CellTTAModel"}, "tta_pipeline": [{"type": "TestTimeAug"}]}
    cfg = load_config(config_file, {key: parts[key] for key in parts if key != missing})

    with pytest.raises(UsageError, match=rf"--tta needs {missing}, .*small\.py .*cell_data\.py"):
        enable_tta(cfg)
