"""Small detectors of random weights that find something in pictures of blobs."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

import cellseg_mmdet.models  # noqa: F401
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry
from cellseg_mmdet.tiling.detectors import TiledDetector
from cellseg_mmdet.tiling.pictures import ArrayPicture
from cellseg_mmdet.tiling.scratch import Scratch

CLASSES = 2
CONFIGS = {
    "mask-rcnn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "cascade": "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
    "htc": "htc/htc-without-semantic_r50_fpn_1x_coco.py",
    "ms-rcnn": "ms_rcnn/ms-rcnn_r50_fpn_1x_coco.py",
    "rtmdet": "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
}
OURS = {"FCNMaskHead": "RoIFCNMaskHead", "HTCMaskHead": "RoIHTCMaskHead"}
STAGES, WIDTH = 3, 8
STRIDES = [4, 8, 16]


def small(node: Any, norm: str) -> Any:
    """Return a model of mmdet with three narrow stages, without pretrained weights, that keeps what it finds."""
    if isinstance(node, list | tuple):
        return type(node)(small(item, norm) for item in node)
    if not isinstance(node, dict):
        return node
    node = {key: small(value, norm) for key, value in node.items() if key != "init_cfg"}
    node.update({key: 16 for key in node if key.endswith("channels") and node[key] in (256, 1024)})
    if "num_classes" in node:
        node["num_classes"] = CLASSES
    if node.get("type") == "SyncBN":
        node["type"] = "BN"
    if node.get("type") == "ResNet":
        node.update(
            depth=18, stem_channels=8, base_channels=WIDTH, num_stages=STAGES,
            strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(0, 1, 2), frozen_stages=-1,
        )  # fmt: skip
    if node.get("type") == "FPN":
        node.update(in_channels=[8, 16, 32], num_outs=4)
        if norm == "GN":
            node.update(norm_cfg=dict(type="GN", num_groups=4))
    if node.get("type") == "AnchorGenerator":
        node.update(strides=[*STRIDES, 32], scales=[4, 6])
    if "featmap_strides" in node:
        node.update(featmap_strides=STRIDES, finest_scale=28)
    node["type"] = OURS.get(node["type"], node["type"]) if "type" in node else None
    if node["type"] is None:
        del node["type"]
    return node


def build(name: str, norm: str = "BN", seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """Return a detector in eval mode, its statistics random as well.

    In float64 a sum taken in another order changes no pixel of a mask.
    """
    init_default_scope("mmdet")
    cfg = get_config(f"mmdet::{CONFIGS[name]}").model
    model_cfg = small(cfg.to_dict() if hasattr(cfg, "to_dict") else dict(cfg), norm)
    if name == "rtmdet":
        model_cfg["data_preprocessor"]["pad_size_divisor"] = 32
        model_cfg["backbone"].update(deepen_factor=0.16, widen_factor=0.125)
        model_cfg["neck"].update(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1)
        model_cfg["bbox_head"].update(in_channels=16, feat_channels=16, num_prototypes=4)
        model_cfg["test_cfg"].update(nms_pre=60, max_per_img=40, score_thr=0.01)
    else:
        model_cfg["test_cfg"]["rpn"].update(nms_pre=150, max_per_img=200)
        model_cfg["test_cfg"]["rcnn"].update(score_thr=0.05, max_per_img=60)
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(model_cfg)).eval()
    for part, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        last = part.rpartition(".")[2]
        if last in ("rpn_cls", "fc_cls", "conv_logits") or ".rtm_cls." in part:
            nn.init.normal_(module.weight, std=0.5)
        if last in ("rpn_reg", "fc_reg"):
            nn.init.normal_(module.weight, std=0.05)
        if ".rtm_reg." in part:
            nn.init.normal_(module.weight, std=0.5)
            nn.init.constant_(module.bias, 1)
        if ".rtm_kernel." in part or last == "projection":
            nn.init.normal_(module.weight, std=1.5)
    model.backbone.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
    return model.to(dtype)


def blobs(size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 of soft blobs."""
    height, width = size_hw
    rng = np.random.default_rng(seed)
    image = rng.normal(60, 6, size_hw).astype(np.float32)
    for _ in range(height * width // 900):
        y, x = rng.integers(0, height), rng.integers(0, width)
        axes = tuple(int(side) for side in rng.integers(3, 14, 2))
        cv2.ellipse(
            image,
            (int(x), int(y)),
            axes,
            int(rng.integers(180)),
            0,
            360,
            float(rng.integers(90, 250)),
            -1,
        )
    image = cv2.GaussianBlur(image, (5, 5), 1)
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


class Seen(NamedTuple):
    """A picture as the network sees it, and the size that it had before."""

    picture: ArrayPicture
    size_hw: tuple[int, int]


def seen(image: np.ndarray, scale_yx: tuple[float, float] = (1.0, 1.0)) -> Seen:
    """Return an image (H, W, 3) resized by factors of the height and the width."""
    height, width = image.shape[:2]
    size = round(width * scale_yx[1]), round(height * scale_yx[0])
    resized = image if scale_yx == (1.0, 1.0) else cv2.resize(image, size)
    return Seen(ArrayPicture(resized), (height, width))


def in_tiles(tiled: TiledDetector, image: Seen, limit_bytes: float = 1e9) -> ImagePrediction:
    """Return what a detector finds tile by tile."""
    with Scratch(limit_bytes) as scratch:
        return _prediction(tiled.instances(image.picture, image.size_hw, scratch), image.size_hw)


@torch.inference_mode()
def whole(model: Any, image: Seen) -> ImagePrediction:
    """Return what a model finds in the whole picture."""
    pixels = image.picture.pixels
    meta = dict(
        img_path="blobs.png", img_id=7, ori_shape=image.size_hw, img_shape=pixels.shape[:2],
        scale_factor=(pixels.shape[1] / image.size_hw[1], pixels.shape[0] / image.size_hw[0]),
    )  # fmt: skip
    inputs = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    data = {"inputs": [inputs], "data_samples": [DetDataSample(metainfo=meta)]}
    return _prediction(model.test_step(data)[0].pred_instances, image.size_hw)


def _prediction(instances: InstanceData, size_hw: tuple[int, int]) -> ImagePrediction:
    sample = DetDataSample(metainfo=dict(img_path="blobs.png", img_id=7, ori_shape=size_hw))
    sample.pred_instances = instances
    return from_dump_entry(sample.to_dict())
