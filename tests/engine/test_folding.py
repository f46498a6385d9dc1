"""Folded batch norms give the same numbers, and norms that cannot be folded stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import Tensor, nn

from cellseg_mmdet.engine.folding import fold_batch_norms
from cellseg_mmdet.models.backbones.efficientnet_lite import EfficientNetLite
from cellseg_mmdet.models.backbones.unet import UNet
from cellseg_mmdet.models.pixel.decoder import UShapedDecoder

ONE_STAGE = dict(type="mmdet.ResNet", num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))


def trained(model: nn.Module) -> nn.Module:
    """Return a model in eval mode, with norms as a training leaves them."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            numbers = dict(module.named_parameters()) | dict(module.named_buffers())
            for name, number in numbers.items():
                if name in ("running_var", "weight"):
                    number.data.copy_(torch.rand(len(number), generator=generator) + 0.5)
                elif name in ("running_mean", "bias"):
                    number.data.copy_(torch.randn(len(number), generator=generator) * 0.3)
    model.eval()  # mmdet's ResNet returns nothing
    return model


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def all_outputs(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


class Both(nn.Module):
    """A decoder on its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(out_indices=(0, 1, 2))
        self.decoder = UShapedDecoder([16, 24, 40], [2, 4, 8], out_channels=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.backbone(x))


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (Both, 0),
        (lambda: MODELS.build(dict(ONE_STAGE, depth=18)), 0),
        (lambda: MODELS.build(dict(ONE_STAGE, depth=50)), 0),
        (lambda: ConvModule(3, 8, 3, norm_cfg=dict(type="BN")), 0),
        (lambda: ConvModule(3, 8, 3, norm_cfg=dict(type="BN"), order=("conv", "act", "norm")), 1),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), 1),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), 1),
    ],
    ids=["lite", "r18", "r50", "ConvModule", "act first", "relu between", "plain norm", "no statistics"],
)  # fmt: skip
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_outputs_are_the_same(
    build: Any, left: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    model = build()
    if hasattr(model, "init_weights"):
        model.init_weights()
    model = trained(model).to(memory_format=memory_format)
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        before = all_outputs(model(x))
        count = norms(model)
        assert fold_batch_norms(model) == count - left
        assert norms(model) == left
        for found, expected in zip(all_outputs(model(x)), before, strict=True):
            assert found.shape == expected.shape
            # As shares of the largest number; float32 has 1.2e-7, and there are up to 36 layers.
            error = (found - expected).abs().max() / expected.abs().max()
            assert error < 1e-5
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.shape[1] > 1:
            assert module.weight.is_contiguous(memory_format=memory_format)


def test_a_norm_in_training_stays() -> None:
    assert fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()) == 0


def test_shared_convolutions_stay() -> None:
    conv = nn.Conv2d(3, 3, 1)
    model = nn.ModuleList(nn.Sequential(conv, nn.BatchNorm2d(3)) for _ in range(2))
    model = trained(model)
    x = torch.randn(1, 3, 4, 4)
    before = [part(x) for part in model]
    assert fold_batch_norms(model) == 0
    assert all(torch.equal(part(x), y) for part, y in zip(model, before, strict=True))


def test_folding_twice_is_folding_once() -> None:
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    assert (fold_batch_norms(model), fold_batch_norms(model)) == (1, 0)


@pytest.mark.parametrize("has_norms", [True, False])
def test_unets_give_the_same(has_norms: bool) -> None:
    torch.manual_seed(0)
    model = trained(UNet(filters=(4, 8, 16), batch_norm=has_norms))
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = all_outputs(model(x))
        fold_batch_norms(model)
        for found, expected in zip(all_outputs(model(x)), before, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
