"""`UShapedDecoder` and `PixelHead`: sizes, and which features are looked at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.models import PixelHead, UShapedDecoder

CHANNELS, STRIDES = [4, 6, 8], [2, 4, 8]


def features(side: int = 32) -> list[Tensor]:
    return [
        torch.randn(2, channels, side // stride, side // stride)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("out_stride", "levels"), [(None, 3), (1, 4), (2, 3), (4, 2), (8, 1)])
def test_maps_at_the_stride_asked_for(out_stride: int | None, levels: int, separable: bool):
    width = [5, 7, 9, 11][-levels:]
    decoder = UShapedDecoder(
        CHANNELS, STRIDES, 3, width=width, out_stride=out_stride, separable=separable
    )
    assert decoder.out_stride == (out_stride or 2)
    assert decoder.total_stride == 8
    assert decoder(features()).shape == (2, 3, 32 // decoder.out_stride, 32 // decoder.out_stride)


def test_every_weight_learns_and_finer_features_are_not_looked_at():
    decoder = UShapedDecoder(CHANNELS, STRIDES, 3, width=5, out_stride=4)
    decoder.init_weights()
    inputs = [x.requires_grad_() for x in features()]
    decoder(inputs).square().sum().backward()
    assert [x.grad is not None for x in inputs] == [False, True, True]
    assert all(weight.grad.abs().sum() > 0 for weight in decoder.parameters())


def test_maps_begin_near_zero():
    decoder = UShapedDecoder(CHANNELS, STRIDES, 3)
    decoder.init_weights()
    assert decoder(features()).abs().max() < 0.5


def test_head_is_a_convolution_of_the_finest_features():
    head = PixelHead(4, 2, kernel=3)
    x = features()
    torch.testing.assert_close(head(x), head.head(x[0]))
    assert head(x).shape == (2, 2, 16, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(strides=[2, 4]), "as many of both"),
        (dict(strides=[2, 4, 16]), "twice the one before"),
        (dict(out_stride=3), "out_stride=3: 8, the last of strides, halved"),
        (dict(out_stride=16), "out_stride=16"),
        (dict(out_stride=0), "out_stride=0"),
        (dict(width=[8, 8]), r"one number, or one for each of the strides \[2, 4, 8\]"),
    ],
)
def test_numbers_that_do_not_fit(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        UShapedDecoder(**{"in_channels": CHANNELS, "strides": STRIDES, "out_channels": 3} | options)
