"""Small pixel models with random weights whose cells are many."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.registry import MODELS

import cellseg_mmdet.models  # noqa: F401  # registers PixelDetector
from cellseg_mmdet.models.pixel import PixelDetector


def lite_detector(code: str = "FlowCode", **changes: Any) -> PixelDetector:
    """EfficientNet-Lite0 down to stride 16, and a decoder to stride 2."""
    config = dict(
        type="PixelDetector",
        data_preprocessor=dict(
            type="DetDataPreprocessor", mean=[127.0] * 3, std=[64.0] * 3, bgr_to_rgb=True
        ),
        backbone=dict(type="EfficientNetLite", out_indices=(0, 1, 2, 3)),
        decoder=dict(
            type="UShapedDecoder",
            in_channels=[16, 24, 40, 112],
            strides=[2, 4, 8, 16],
            width=[8, 8, 16, 16],
            out_stride=2,
        ),
        code=dict(type=code),
        channels_last=True,
    )
    return random_weights(MODELS.build({**config, **changes}))


def unet_detector(
    code: str = "RimCode", num_classes: int = 1, soft_masks: bool = False, **backbone: Any
) -> PixelDetector:
    """A U-Net of three sizes."""
    config = dict(
        type="PixelDetector",
        data_preprocessor=dict(type="DetDataPreprocessor", mean=[127.0] * 3, std=[64.0] * 3),
        backbone={"type": "UNet", "filters": (8, 8, 16), **backbone},
        decoder=dict(type="PixelHead", in_channels=8),
        code=dict(type=code),
        num_classes=num_classes,
        soft_masks=soft_masks,
    )
    return random_weights(MODELS.build(config))


def random_weights(detector: PixelDetector, seed: int = 0) -> PixelDetector:
    """Fill a detector with weights from which maps vary widely, and half of all pixels are foreground."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in detector.named_parameters():
        if parameter.dim() > 1:
            fan_in = parameter[0].numel()
            draw = torch.randn(parameter.shape, generator=generator)
            parameter.data = draw * (2 / fan_in) ** 0.5
        elif name.endswith("bias"):
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    detector.eval().requires_grad_(False)
    noise = torch.randn(1, 3, 96, 96, generator=generator)
    head = detector.decoder.head
    logits = detector._forward(noise)
    spread = logits.std(dim=(0, 2, 3)).clamp(min=1e-3)
    head.weight.data *= (2.0 / spread)[:, None, None, None]
    head.bias.data = (head.bias.data - logits.median(dim=3)[0].median(dim=2)[0][0]) * 2.0 / spread
    return detector
