"""Losses of maps, and what is reported of them during training.

All take ``logits``, ``target`` and ``weight`` of the channels of one group, each (B, C, H, W). A pixel of weight 0 does
not count: it is padding, or of a cell to ignore.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from cellseg_mmdet.pixel_codes import ChannelGroup


def activate(logits: Tensor, groups: Sequence[ChannelGroup]) -> Tensor:
    """Return what the groups' maps are for what a network gives, both (B, C, H, W)."""
    parts = logits.split([group.channels for group in groups], dim=1)
    return torch.cat(
        [_activated(z, group) / group.scale for z, group in zip(parts, groups, strict=True)], dim=1
    )


def _activated(logits: Tensor, group: ChannelGroup) -> Tensor:
    if group.activation == "sigmoid":
        return logits.sigmoid()
    return logits.softmax(dim=1) if group.activation == "softmax" else logits


class GroupLoss(nn.Module):
    """The loss that a code names for a group of its channels: the weighted mean over all that count.

    Args:
        group: of channels.
    """

    def __init__(self, group: ChannelGroup) -> None:
        super().__init__()
        self.group = group

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss, a scalar of at least 0."""
        if self.group.loss == "bce":
            losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        elif self.group.loss == "ce":
            losses = F.cross_entropy(logits, target, reduction="none")[:, None]
            weight = weight[:, :1]
        else:
            error = F.mse_loss if self.group.loss == "mse" else F.l1_loss
            scaled = target * self.group.scale
            losses = error(_activated(logits, self.group), scaled, reduction="none")
        return self.group.loss_weight * _mean(losses, weight)

    def extra_repr(self) -> str:
        """Return the group."""
        return str(self.group)


def _mean(losses: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of weighted losses by the number of those that count."""
    return (losses * weight).sum() / (weight > 0).sum().clamp(min=1)


@MODELS.register_module()
class PixelBCELoss(nn.Module):
    """Binary cross-entropy, weighted pixel by pixel, divided by the number of pixels that count.

    Args:
        loss_weight: factor.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss, a scalar of at least 0."""
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return self.loss_weight * _mean(losses, weight)


@MODELS.register_module()
class PixelDiceLoss(nn.Module):
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) of probabilities p and truth t, over all pixels of the batch.

    Weights above 0 make no difference. mmdet's ``DiceLoss`` cannot leave pixels out, and gives an image without cells
    no gradient in its squared form.

    Args:
        squared: square p and t in the denominator (Milletari, Navab and Ahmadi, V-Net, 2016).
        loss_weight: factor.
    """

    def __init__(self, squared: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.squared = squared
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss, a scalar in [0, 1]."""
        counts = weight > 0
        p, t = logits.sigmoid() * counts, target * counts
        size = (p * p + t * t if self.squared else p + t).sum()
        return self.loss_weight * (1 - (2 * (p * t).sum() + 1) / (size + 1))


@torch.no_grad()
def pixel_scores(logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Return ``dice``, ``iou``, ``precision`` and ``recall`` of the pixels above a probability of one half.

    Scalars in [0, 1], over all pixels of the batch that count; 1 where there is nothing to find and nothing is found.
    """
    counts = weight > 0
    found, true = (logits > 0) & counts, (target > 0.5) & counts
    num_found, num_true, both = (pixels.sum() for pixels in (found, true, found & true))

    def ratio(part: Tensor, whole: Tensor) -> Tensor:
        return torch.where(whole > 0, part / whole.clamp(min=1), 1.0)

    return {
        "dice": ratio(2 * both, num_found + num_true),
        "iou": ratio(both, num_found + num_true - both),
        "precision": ratio(both, num_found),
        "recall": ratio(both, num_true),
    }
