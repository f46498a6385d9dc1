"""Networks that know the answer, and pictures to show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from torch import Tensor, nn

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.models import PixelDetector

FLOW = dict(type="FlowCode")
HEIGHT, WIDTH = 24, 32


class Showing(nn.Module):
    """A backbone whose only features are what it makes of the picture; the picture itself by default."""

    def __init__(self, seen: Callable[[Tensor], Tensor] = lambda images: images) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.seen(images),)


class Copying(nn.Module):
    """A decoder that gives the features as they are."""

    total_stride = out_stride = 1

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return features[0]


def detector(code: dict[str, Any] = FLOW, **options: Any) -> PixelDetector:
    """Return a detector of a small network."""
    config = dict(
        type="PixelDetector",
        backbone=dict(type="EfficientNetLite", out_indices=(0, 1)),
        decoder=dict(type="UShapedDecoder", in_channels=[16, 24], strides=[2, 4], width=8),
        code=code,
    )
    return MODELS.build(config | options).eval()


def seeing(**options: Any) -> PixelDetector:
    """Return a detector that takes a picture for its logits."""
    model = detector(**options)
    model.backbone, model.decoder = Showing(), Copying()
    return model


def two_cells() -> np.ndarray:
    label_map = np.zeros((HEIGHT, WIDTH), np.int32)
    label_map[3:12, 4:13], label_map[3:12, 13:22], label_map[16:22, 20:31] = 1, 2, 3
    return label_map


def logits(model: PixelDetector, label_map: np.ndarray, sure: float = 8.0) -> Tensor:
    """Return the logits (C, H, W) by which a model says that these are the cells."""
    maps = torch.from_numpy(model.code.encode(Runs.from_label_map(label_map)).maps)
    groups = model.code.groups
    parts = [
        values * group.scale if group.activation == "identity" else (2 * values - 1) * sure
        for group, values in zip(
            groups, maps.split([group.channels for group in groups]), strict=True
        )
    ]
    return torch.cat(parts)


def sample(img_shape: tuple[int, int], ori_shape: tuple[int, int] | None = None) -> DetDataSample:
    meta = dict(
        img_id=1,
        img_path="folder/image.png",
        img_shape=img_shape,
        ori_shape=ori_shape or img_shape,
    )
    return DetDataSample(metainfo=meta)


def with_truth(
    model: PixelDetector, label_map: np.ndarray, classes: Sequence[int] = (1, 1, 1)
) -> DetDataSample:
    """Return a sample with targets; ``classes`` of the cells count from 1 on."""
    truth = sample(label_map.shape)
    targets = model.code.encode(Runs.from_label_map(label_map))
    truth.gt_pixels = PixelData(
        maps=torch.from_numpy(targets.maps),
        weights=torch.from_numpy(targets.weights),
        classes=torch.from_numpy(np.array([0, *classes], np.uint8)[label_map][None]),
        metainfo=dict(code=type(model.code).__name__),
    )
    return truth
