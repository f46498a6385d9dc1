"""Focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002) of sigmoids and of softmaxes.

As mmcv's operators for CUDA; it has none for the CPU, where mmdet's `FocalLoss` takes a way of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The smallest normal float32: logarithms stay finite.
_TINY = 1.17549435e-38


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each class into ``output``, (N, C).

    Args:
        input: (N, C) logits.
        target: (N,) class of each row; C, or anything else outside of 0 to C - 1, is background.
        weight: (C,) weight of the rows of a class, or empty; rows of the background have weight 1.
    """
    real, positive = _with_targets(input, target)
    p = real.sigmoid()
    of_class = -alpha * (1 - p) ** gamma * p.clamp_min(_TINY).log()
    of_others = -(1 - alpha) * p**gamma * (1 - p).clamp_min(_TINY).log()
    output.copy_(torch.where(positive, of_class, of_others) * _row_weights(weight, target, real))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each loss by its logit into ``grad_input``, (N, C)."""
    real, positive = _with_targets(input, target)
    p = real.sigmoid()
    of_class = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * p.clamp_min(_TINY).log())
    of_others = -(1 - alpha) * p**gamma * (gamma * (1 - p) * (1 - p).clamp_min(_TINY).log() - p)
    grad_input.copy_(
        torch.where(positive, of_class, of_others) * _row_weights(weight, target, real)
    )


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each row into ``output``, (N,), 0 where the target is negative.

    Args:
        input: (N, C) softmaxes.
        target: (N,) class of each row, negative to leave it out.
        weight: (C,) weight of the rows of a class, or empty.
    """
    real = _real(input)
    p = _probability(real, target)
    loss = -alpha * (1 - p) ** gamma * p.clamp_min(_TINY).log()
    loss = loss * _row_weights(weight, target, real)[:, 0]
    output.copy_(torch.where(target >= 0, loss, torch.zeros_like(loss)))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivatives by the logits below the softmaxes into ``grad_input``, (N, C), and a buffer (N,)."""
    real = _real(input)
    p = _probability(real, target)
    factor = alpha * (
        -((1 - p) ** gamma) + gamma * (1 - p) ** (gamma - 1) * p * p.clamp_min(_TINY).log()
    )
    factor = factor * _row_weights(weight, target, real)[:, 0]
    factor = torch.where(target >= 0, factor, torch.zeros_like(factor))
    buff.copy_(factor)
    positive = _with_targets(input, target)[1]
    grad_input.copy_(factor[:, None] * (positive.to(real) - real))


def _real(input: Tensor) -> Tensor:
    """Return the values in float32 or float64."""
    return input if input.dtype is torch.float64 else input.float()


def _with_targets(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    classes = torch.arange(input.shape[1], device=input.device)
    return _real(input), target[:, None] == classes


def _probability(softmax: Tensor, target: Tensor) -> Tensor:
    return softmax.gather(1, target.clamp_min(0)[:, None])[:, 0]


def _row_weights(weight: Tensor, target: Tensor, real: Tensor) -> Tensor:
    """Return the weight of each row, (N, 1)."""
    if not weight.numel():
        return real.new_ones(len(target), 1)
    known = (target >= 0) & (target < len(weight))
    chosen = weight.to(real)[target.clamp(0, len(weight) - 1)]
    return torch.where(known, chosen, torch.ones_like(chosen))[:, None]
