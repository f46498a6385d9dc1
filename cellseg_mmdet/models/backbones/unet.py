"""U-Nets as backbones: their only features have the size of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.models.backbones.unet_blocks import (
    Block,
    DoubleConv,
    ResidualAttentionUpStage,
    ResidualBlock,
    UpStage,
)

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class _UShape(BaseModule):
    """Down, across and up again: what all U-Nets here share.

    Args:
        filters: channels at each size, from the full one down; each further one is half as large.
        dropout: probability of dropout, one for all sizes or one for each.
        block: makes the convolutions at one size.
        up_stage: class of a step back up.
        init_cfg: mmengine's; torch's own initialisation without.

    Raises:
        ConfigError: there are fewer than two sizes, or not one dropout for each.
    """

    # Pixels that a side loses at each size, down and up: 4 in two convolutions without padding.
    lost_px = 0

    def __init__(
        self,
        in_channels: int,
        filters: Sequence[int],
        dropout: float | Sequence[float],
        block: Block,
        up_stage: type[nn.Module],
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        rates = [dropout] * len(filters) if isinstance(dropout, int | float) else list(dropout)
        if len(filters) < 2 or len(rates) != len(filters):
            raise ConfigError(
                f"filters {tuple(filters)} and dropout {tuple(rates)}: there must be two sizes at least, "
                "and one probability for each"
            )
        channels = [in_channels, *filters]
        self.down = nn.ModuleList(map(block, channels[:-1], filters, rates))
        self.up = nn.ModuleList(
            up_stage(coarse, fine, block, rate)
            for coarse, fine, rate in zip(
                filters[:0:-1], filters[-2::-1], rates[-2::-1], strict=True
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the features (B, filters[0], H', W') of images (B, C, H, W), H' and W' smaller without padding."""
        skips = []
        x = self.down[0](images)
        for block in self.down[1:]:
            skips.append(x)
            x = block(F.max_pool2d(x, 2))
        for stage in self.up:
            x = stage(x, skips.pop())
        return (x,)

    def context(self, length: int) -> tuple[int, int]:
        """Return the pixels to put before and behind a side of ``length`` pixels.

        With these the network halves every size without a remainder, and the first ``length`` pixels that it gives are
        those of the side.
        """
        scale = 2 ** (len(self.down) - 1)
        lost_up, lost_down = self.lost_px * (2 * scale - 1), self.lost_px * (scale - 1)
        coarsest = math.ceil((length + lost_up) / scale)
        before = (lost_up + lost_down) // 2
        return before, coarsest * scale + lost_down - length - before


@MODELS.register_module()
class UNet(_UShape):
    """U-Net (Ronneberger, Fischer and Brox, 2015), with transposed convolutions.

    Args:
        in_channels: of the image.
        filters: channels at each size, from the full one down; ``filters[0]`` are given.
        activation: 'relu' or 'tanh'.
        batch_norm: normalise between convolution and activation.
        dropout: probability of dropout between two convolutions, one for all sizes or one for each.
        padding: 'same'; or 'valid' as in the paper: only pixels of the image are looked at, skip connections are
            cropped, and the result is smaller than the image.
        init_cfg: mmengine's, such as He's ``dict(type='Kaiming', mode='fan_in', layer='Conv2d')``.

    Raises:
        ConfigError: for an unknown activation or padding.
    """

    def __init__(
        self,
        in_channels: int = 3,
        filters: Sequence[int] = (64, 128, 256, 512, 1024),
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float | Sequence[float] = 0.0,
        padding: str = "same",
        init_cfg: Any = None,
    ) -> None:
        if activation not in _ACTIVATIONS:
            raise ConfigError(f"activation {activation!r}, allowed are {sorted(_ACTIVATIONS)}")
        if padding not in ("same", "valid"):
            raise ConfigError(f"padding {padding!r}, allowed are 'same' and 'valid'")
        block = partial(
            DoubleConv,
            activation=_ACTIVATIONS[activation],
            batch_norm=batch_norm,
            padding=int(padding == "same"),
        )
        super().__init__(in_channels, filters, dropout, block, UpStage, init_cfg)
        self.lost_px = 4 * (padding == "valid")


@MODELS.register_module()
class ResidualAttentionUNet(_UShape):
    """U-Net of residual blocks whose skip connections pass additive attention gates.

    Args:
        in_channels: of the image.
        filters: channels at each size, from the full one down; ``filters[0]`` are given.
        dropout: probability of dropout in each block, and behind each one on the way up.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        in_channels: int = 3,
        filters: Sequence[int] = (32, 64, 128, 256, 512),
        dropout: float | Sequence[float] = 0.5,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(
            in_channels, filters, dropout, ResidualBlock, ResidualAttentionUpStage, init_cfg
        )
