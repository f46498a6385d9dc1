"""What a U-Net is made of: convolutions, attention gates, and one step of the way back up."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (channels in, channels out, probability of dropout) -> block
Block = Callable[[int, int, float], nn.Module]


class DoubleConv(nn.Sequential):
    """Two 3 x 3 convolutions, each with its activation, and dropout between them.

    Args:
        in_channels: of the input.
        out_channels: of the result.
        dropout: probability that a value is set to 0 in training.
        activation: class of the activation.
        batch_norm: normalise between each convolution and its activation.
        padding: pixels of 0 around the input; without, a side loses two pixels in each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dropout: float,
        *,
        activation: type[nn.Module] = nn.ReLU,
        batch_norm: bool = False,
        padding: int = 1,
    ) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=padding))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(activation())
        if dropout:
            layers.insert(len(layers) // 2, nn.Dropout(dropout))
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, the result of the first added to that of the second (after Zhang et al., 2018).

    With c1, c2 the convolutions and n1, n2 batch norms: h = relu(c1(x)); relu(h + dropout(n2(relu(c2(n1(h)))))).
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU())
        self.rest = nn.Sequential(
            nn.BatchNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(out_channels),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out channels, H, W)."""
        x = self.first(x)
        return F.relu(x + self.rest(x))


class AttentionGate(nn.Module):
    """Additive attention on a skip connection (Oktay et al., Attention U-Net, 2018, equations 1 and 2).

    With x the skip connection and g the coarser features, half its size: q = psi(relu(W_x x + W_g g + b_g)) + b_psi is
    computed at the size of g, and x is multiplied by the sigmoid of q, which is resampled linearly to its own size. As
    in the authors' code, a 1 x 1 convolution and a batch norm follow.

    Args:
        skip_channels: of x.
        gating_channels: of g.
        inner_channels: of what is added up.
    """

    def __init__(self, skip_channels: int, gating_channels: int, inner_channels: int) -> None:
        super().__init__()
        self.of_skip = nn.Conv2d(skip_channels, inner_channels, 1, stride=2, bias=False)
        self.of_gating = nn.Conv2d(gating_channels, inner_channels, 1)
        self.psi = nn.Conv2d(inner_channels, 1, 1)
        self.out = nn.Sequential(
            nn.Conv2d(skip_channels, skip_channels, 1), nn.BatchNorm2d(skip_channels)
        )

    def attention(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return the attention (B, 1, H, W) in [0, 1] for a skip connection (B, C, H, W)."""
        q = self.psi(F.relu(self.of_skip(skip) + self.of_gating(gating)))
        return F.interpolate(q.sigmoid(), size=skip.shape[2:], mode="bilinear")

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return the skip connection (B, C, H, W) as it goes on."""
        return self.out(skip * self.attention(skip, gating))


class UpStage(nn.Module):
    """Double the size of the coarser features, join the skip connection to them, and convolve both.

    Args:
        in_channels: of the coarser features.
        out_channels: of the result, and of the skip connection.
        block: makes the convolutions.
        dropout: of the convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, block: Block, dropout: float) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.block = block(2 * out_channels, out_channels, dropout)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Return (B, out channels, H, W)."""
        up = self.up(coarse)
        return self.block(torch.cat([up, centre_crop(skip, up.shape[2:])], dim=1))


class ResidualAttentionUpStage(nn.Module):
    """`UpStage`, whose arguments it has, with a gate on the skip connection, a ReLU, and dropout and batch norm."""

    def __init__(self, in_channels: int, out_channels: int, block: Block, dropout: float) -> None:
        super().__init__()
        self.gate = AttentionGate(out_channels, in_channels, inner_channels=out_channels)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2), nn.ReLU()
        )
        self.block = nn.Sequential(
            block(2 * out_channels, out_channels, dropout),
            nn.Dropout(dropout),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Return (B, out channels, H, W)."""
        return self.block(torch.cat([self.up(coarse), self.gate(skip, coarse)], dim=1))


def centre_crop(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return the middle of (B, C, H, W), ``size_hw`` pixels of it."""
    top, left = ((have - want) // 2 for have, want in zip(x.shape[2:], size_hw, strict=True))
    return x[:, :, top : top + size_hw[0], left : left + size_hw[1]]
