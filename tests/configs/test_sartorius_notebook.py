"""The numbers of the notebook that the Sartorius configs repeat."""

from __future__ import annotations

import pytest

from tests.configs.leaves import CONFIGS, R50, S50, load

R50_STOCK = CONFIGS / "mask_rcnn/mask-rcnn_r50_fpn_20e_stock-masks_sartorius.py"


@pytest.mark.parametrize(("path", "rate"), [(R50, 0.005), (S50, 0.0025)])
def test_schedule(path, rate):
    cfg = load(path)
    assert cfg.optim_wrapper.optimizer == {
        "type": "SGD",
        "lr": rate,
        "momentum": 0.9,
        "weight_decay": 0.0001,
    }
    assert cfg.optim_wrapper.get("clip_grad") is None
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.end, warm_up.by_epoch) == (
        "LinearLR",
        0.001,
        500,
        False,
    )
    assert (steps.type, steps.milestones, steps.gamma) == ("MultiStepLR", [8, 11], 0.1)
    assert cfg.train_cfg.max_epochs == steps.end == 20
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 2


@pytest.mark.parametrize("path", [R50, S50])
def test_pipelines(path):
    cfg = load(path)
    steps = {step.type: step for step in cfg.train_pipeline}
    assert steps["RandomChoiceResize"].scales == [(1333, 1333), (1280, 1280), (1024, 1024)]
    assert steps["RandomChoiceResize"].keep_ratio
    assert steps["RandomFlip"].prob == 0.5
    assert steps["RandomFlip"].direction == ["horizontal", "vertical"]
    assert steps["LoadRoIAnnotations"].with_mask
    resize = cfg.test_pipeline[1]
    assert (resize.type, resize.scale, resize.keep_ratio) == ("Resize", (1280, 1280), True)


def test_stock_masks_change_nothing_else():
    cfg, stock = load(R50), load(R50_STOCK)
    assert stock.train_dataloader.dataset.pipeline == stock.train_pipeline
    assert stock.train_pipeline[1].pop("type") == "LoadAnnotations"
    assert stock.train_pipeline[1].pop("poly2mask")
    assert stock.model.roi_head.mask_head.pop("type") == "FCNMaskHead"
    cfg.train_pipeline[1].pop("type")
    cfg.model.roi_head.mask_head.pop("type")
    assert stock.train_pipeline == cfg.train_pipeline
    assert stock.model == cfg.model


@pytest.mark.parametrize("path", [R50, S50])
def test_proposals_and_detections(path):
    model = load(path).model
    assert (model.train_cfg.rpn_proposal.nms_pre, model.train_cfg.rpn_proposal.max_per_img) == (
        2000,
        1000,
    )
    assert (model.test_cfg.rpn.nms_pre, model.test_cfg.rpn.max_per_img) == (1000, 1000)
    assert (
        model.train_cfg.rpn_proposal.nms.iou_threshold
        == model.test_cfg.rpn.nms.iou_threshold
        == 0.7
    )
    assert (model.train_cfg.rpn.sampler.num, model.train_cfg.rcnn.sampler.num) == (256, 512)
    rcnn = model.test_cfg.rcnn
    assert (rcnn.score_thr, rcnn.nms.iou_threshold, rcnn.max_per_img, rcnn.mask_thr_binary) == (
        0.05,
        0.5,
        200,
        0.5,
    )
    assert model.rpn_head.anchor_generator.scales == [8]


def test_resnet():
    backbone = load(R50).model.backbone
    assert (backbone.type, backbone.depth, backbone.frozen_stages, backbone.norm_eval) == (
        "ResNet",
        50,
        1,
        True,
    )
    assert backbone.init_cfg.checkpoint == "torchvision://resnet50"


def test_resnest():
    model = load(S50).model
    assert model.data_preprocessor.mean == [123.68, 116.779, 103.939]
    assert model.data_preprocessor.std == [58.393, 57.12, 57.375]
    assert model.data_preprocessor.bgr_to_rgb
    backbone = model.backbone
    assert (backbone.type, backbone.depth, backbone.radix, backbone.norm_eval) == (
        "ResNeSt",
        50,
        2,
        False,
    )
    assert (backbone.stem_channels, backbone.reduction_factor, backbone.avg_down_stride) == (
        64,
        4,
        True,
    )
    assert backbone.init_cfg.checkpoint == "open-mmlab://resnest50"
    heads = model.roi_head
    assert (heads.bbox_head.type, heads.bbox_head.conv_out_channels) == (
        "Shared4Conv1FCBBoxHead",
        256,
    )
    assert {part.norm_cfg.type for part in (backbone, heads.bbox_head, heads.mask_head)} == {
        "SyncBN"
    }
