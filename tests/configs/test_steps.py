"""Every config takes a training step and a test step on tiny images, from all sides as well."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import nn

from cellseg_mmdet.engine import prepare_model_cfg
from cellseg_mmdet.engine.config import enable_tta, keep_soft_masks
from cellseg_mmdet.fusion import FusionOptions
from cellseg_mmdet.fusion.dumps import fuse_dumps
from cellseg_mmdet.models import PixelDetector
from cellseg_mmdet.structures import ImagePrediction, load_predictions
from tests.configs.leaves import CONFIGS, LAYOUTS, LEAVES, PIPELINE_OF, SIZE, data_of, load

pytestmark = pytest.mark.long

SMALL_MASK_RCNN = CONFIGS / "mask_rcnn/mask-rcnn_r18_fpn_cpu_dsb2018.py"
SMALL_UNET = CONFIGS / "unet/unet_cpu_dsb2018.py"


def shrink(cfg: Config) -> None:
    """Keep images tiny, batches and samples few, and load in this process; all else stays as configured."""
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, 2)
    for loader in PIPELINE_OF:
        cfg[loader].update(num_workers=0, persistent_workers=False)
        for step in cfg[loader].dataset.pipeline:
            if "scale" in step:
                step.scale = (SIZE, SIZE)
            if "scales" in step:
                step.scales = [(SIZE, SIZE)]
    if "roi_head" in cfg.model:
        cfg.model.train_cfg.rcnn.sampler.num = 16
        cfg.model.test_cfg.rcnn.max_per_img = 16


def parts_for_masks(model: nn.Module) -> tuple[set[str], nn.Parameter]:
    """Return the names of the losses of masks, which are 0 where every cell is ignored, and weights they reach."""
    if isinstance(model, PixelDetector):
        losses = {
            f"loss_{name}" if loss == "own" else f"loss_{name}_{loss}"
            for name, losses in model.losses.items()
            for loss in losses
        }
        return losses, model.decoder.head.weight
    return {"loss_mask"}, model.roi_head.mask_head.convs[0].conv.weight


@pytest.mark.slow
@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_takes_a_training_step_and_a_test_step(path, root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    cfg = load(path)
    cfg.merge_from_dict(
        {"work_dir": str(tmp_path), "randomness": {"seed": 0}, "log_level": "ERROR"}
    )
    prepare_model_cfg(cfg)  # reverts SyncBN: there is no process group
    shrink(cfg)
    runner = Runner.from_cfg(cfg)  # loads no weights: init_weights() does
    model = runner.model

    optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.optim_wrapper = optim_wrapper
    runner.train_loop  # noqa: B018  the schedulers ask it for the length of an epoch
    assert len(runner.build_param_scheduler(cfg.param_scheduler)) == len(cfg.param_scheduler)
    batch = next(iter(runner.train_dataloader))
    mask_losses, weights = parts_for_masks(model)
    before = weights.detach().clone()
    losses = model.train_step(batch, optim_wrapper)
    assert len(batch["inputs"]) == cfg.train_dataloader.batch_size
    if "roi_head" in cfg.model:
        assert {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"} < set(losses)
    assert all(math.isfinite(value) for value in losses.values())
    assert all(losses[name] > 0 for name in mask_losses)
    assert not torch.equal(before, weights)

    model.eval()
    dataset = runner.val_dataloader.dataset
    [result] = model.test_step(pseudo_collate([dataset[0]]))
    found = result.pred_instances
    if "roi_head" in cfg.model:  # a U-Net that knows nothing may find nothing
        assert 0 < len(found) <= cfg.model.test_cfg.rcnn.max_per_img
    assert found.masks.shape == (len(found), SIZE, SIZE)
    assert set(found.labels.tolist()) <= set(range(len(dataset.metainfo["classes"])))
    assert result.cell_type == LAYOUTS[data_of(path)].classes[0]

    evaluator = runner.val_loop.evaluator
    evaluator.process(data_samples=[result], data_batch=None)
    scores = evaluator.evaluate(1)
    assert 0 <= scores[cfg.default_hooks.checkpoint.save_best] <= 1


@torch.no_grad()
def predict_views(path: Path, weights: dict[str, torch.Tensor], out: Path) -> ImagePrediction:
    """Do for one image what ``tools/test.py --tta --soft-masks`` does, with first weights but for those given."""
    cfg = load(path)
    if "roi_head" in cfg.model:
        cfg.model.test_cfg.rcnn.max_per_img = 16
    keep_soft_masks(cfg)
    enable_tta(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    model.module.load_state_dict(weights, strict=False)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    evaluator = Evaluator([dict(type="DumpPredictions", out_file_path=str(out))])
    evaluator.process(model.test_step(pseudo_collate([dataset[0]])))
    evaluator.evaluate(1)
    [prediction] = load_predictions(out)
    return prediction


@pytest.mark.slow
def test_views_and_soft_masks_of_both_kinds_of_models_fuse(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    dumps = mask_rcnn_dump, unet_dump = tmp_path / "mask_rcnn.pkl", tmp_path / "unet.pkl"
    everywhere = {
        "decoder.head.weight": torch.zeros(2, 16, 1, 1),
        "decoder.head.bias": torch.tensor([2.0, -2.0]),  # of a cell, and of no cell's rim
    }

    by_unet = predict_views(SMALL_UNET, everywhere, unet_dump)
    assert by_unet.masks.areas.tolist() == [SIZE * SIZE]
    assert by_unet.soft_masks.shape == (1, 28, 28)
    assert (by_unet.soft_masks == round(255 / (1 + math.exp(-2)))).all()

    by_mask_rcnn = predict_views(SMALL_MASK_RCNN, {}, mask_rcnn_dump)
    assert by_mask_rcnn.soft_masks.shape == (16, 28, 28)

    fused = {}
    for method in ("wbf", "nms"):
        out = tmp_path / f"{method}.pkl"
        options = FusionOptions(method=method)
        summary = fuse_dumps(dumps, out, options=options, classes=["nucleus"], workers=1)
        assert summary.without_soft_masks == ()
        [fused[method]] = load_predictions(out)
        assert fused[method].soft_masks.shape == (len(fused[method]), 28, 28)

    # The surest cell is the U-Net's: where cells overlap it stays, or it raises the mean of them.
    assert SIZE * SIZE in fused["nms"].masks.areas
    surest = {name: dump.soft_masks.mean(axis=(1, 2)).max() for name, dump in fused.items()}
    assert by_mask_rcnn.soft_masks.mean(axis=(1, 2)).max() < surest["wbf"] <= surest["nms"]
