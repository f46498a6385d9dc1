"""From the features of a backbone to maps: what stands between a backbone and a pixel code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from cellseg_mmdet.errors import ConfigError


@MODELS.register_module()
class PixelHead(BaseModule):
    """One convolution on a backbone's only features, for a network that is U-shaped itself.

    Args:
        in_channels: of the features.
        out_channels: maps.
        kernel: side of the convolution, odd.
        init_cfg: mmengine's; torch's own initialisation without.

    Attributes:
        total_stride: sides of pictures are padded to a multiple of it.
        out_stride: of the maps.
    """

    total_stride = out_stride = 1

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, init_cfg: Any = None
    ) -> None:
        super().__init__(init_cfg)
        self.head = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (B, maps, h, w) of the finest features (B, C, h, w)."""
        return self.head(features[0])


@MODELS.register_module()
class UShapedDecoder(BaseModule):
    """A light way back up: at each stride, what comes from below is doubled and added to the backbone's features.

    A level is a 1 x 1 convolution of the features (the lateral), the sum of that and of the coarser level, enlarged
    to its size (the nearest pixel), and a 3 x 3 convolution with norm and ReLU. The last level is one 1 x 1 convolution
    away from the maps.

    Args:
        in_channels: of each of the backbone's features, from fine to coarse.
        strides: of each of them, each twice the one before.
        out_channels: maps.
        width: channels of the levels: one number, or one for each level from fine to coarse.
        out_stride: of the maps: one of ``strides``, whose finer features are not looked at; or a smaller power of
            two, down to 1, that further levels without features lead to. The finest of ``strides`` by default.
        separable: a depthwise and a 1 x 1 convolution in place of each full one.
        norm_cfg: config of the norms.
        init_cfg: mmengine's; He's initialisation by default.

    Raises:
        ConfigError: the numbers do not fit each other.

    Example:
        >>> import torch
        >>> decoder = UShapedDecoder([16, 24], [2, 4], out_channels=3, out_stride=1)
        >>> decoder([torch.zeros(1, 16, 8, 8), torch.zeros(1, 24, 4, 4)]).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        out_channels: int,
        width: int | Sequence[int] = 32,
        out_stride: int | None = None,
        separable: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg or [dict(type="Kaiming", mode="fan_in", layer="Conv2d")])
        if len(in_channels) != len(strides) or any(b != 2 * a for a, b in pairwise(strides)):
            raise ConfigError(
                f"in_channels {tuple(in_channels)} and strides {tuple(strides)}: as many of both, and each stride "
                "twice the one before"
            )
        out_stride = strides[0] if out_stride is None else out_stride
        levels = [out_stride << doubling for doubling in range(16)]
        if out_stride < 1 or strides[-1] not in levels:
            raise ConfigError(
                f"out_stride={out_stride}: {strides[-1]}, the last of strides, halved some times"
            )
        levels = levels[: levels.index(strides[-1]) + 1]
        widths = [width] * len(levels) if isinstance(width, int) else list(width)
        if len(widths) != len(levels):
            raise ConfigError(
                f"width {widths}: one number, or one for each of the strides {levels}"
            )
        self.total_stride, self.out_stride = strides[-1], out_stride
        channels = dict(zip(strides, in_channels, strict=True))
        self.skipped = sum(stride < out_stride for stride in strides)
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels[stride], count, 1)
            for stride, count in zip(levels, widths, strict=True)
            if stride in channels
        )
        # What comes from below gets the width of its level while it is small.
        self.fits = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) if coarse != fine else nn.Identity()
            for fine, coarse in pairwise(widths)
        )
        norm_cfg = norm_cfg or dict(type="BN")
        self.convs = nn.ModuleList(_conv(count, separable, norm_cfg) for count in widths)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def init_weights(self) -> None:
        """Initialise, and let the maps begin near 0: no pixel is sure of anything."""
        super().init_weights()
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (B, maps, h, w) at ``out_stride``.

        Args:
            features: (B, channels, h, w) at each of ``strides``, of an image whose sides are multiples of the last one.
        """
        laterals = [
            lateral(x) for lateral, x in zip(self.laterals, features[self.skipped :], strict=True)
        ]
        x = self.convs[-1](laterals.pop())
        for conv, fit in zip(self.convs[-2::-1], self.fits[::-1], strict=True):
            x = F.interpolate(fit(x), scale_factor=2.0, mode="nearest")
            x = conv(x + laterals.pop() if laterals else x)
        return self.head(x)


def _conv(channels: int, separable: bool, norm_cfg: Mapping[str, Any]) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=channels if separable else 1)
    ]
    if separable:
        layers.append(nn.Conv2d(channels, channels, 1, bias=False))
    return nn.Sequential(
        *layers, build_norm_layer(dict(norm_cfg), channels)[1], nn.ReLU(inplace=True)
    )
