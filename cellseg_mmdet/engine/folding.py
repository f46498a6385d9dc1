"""Batch norms folded into the convolutions before them, for inference: fewer passes over features, the same numbers.

A norm that no longer learns is a factor and an offset for each channel, which the convolution can bear as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

# Of mmdet's blocks, how many convolutions have a norm behind them; a subclass may do something else in between.
_BLOCKS = {BasicBlock: 2, Bottleneck: 3}


def fold_batch_norms(model: nn.Module) -> int:
    """Fold each batch norm that is known to follow a convolution into it, and put ``nn.Identity`` in its place.

    Known are neighbours in an ``nn.Sequential``, mmcv's ``ConvModule``, and the blocks and stem of mmdet's ResNets. A
    convolution or a norm that is used in several places stays as it is. The model can no longer be trained.

    Args:
        model: in eval mode; changed in place.

    Returns:
        How many norms were folded.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> x = torch.ones(1, 3, 5, 5)
        >>> before = net(x)
        >>> fold_batch_norms(net), bool(torch.allclose(net(x), before, atol=1e-6))
        (1, True)
    """
    uses = Counter(
        id(child) for module in model.modules() for child in module._modules.values() if child
    )
    pairs = [pair for module in model.modules() for pair in _pairs(module)]
    count = 0
    for owner, conv_name, norm_name in pairs:
        conv, norm = owner._modules[conv_name], owner._modules[norm_name]
        if uses[id(conv)] == 1 == uses[id(norm)] and _is_foldable(conv, norm):
            _fold(conv, norm)
            owner._modules[norm_name] = nn.Identity()
            count += 1
    return count


class FoldBatchNorms(Hook):
    """Folds before a test, so that a test and `Predictor` compute the same."""

    def before_test(self, runner: Runner) -> None:
        """Fold the norms of the runner's model, whose weights are loaded."""
        runner.model.eval()
        count = fold_batch_norms(runner.model)
        runner.logger.info(f"{count} batch norms are folded into their convolutions")


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield a module, the name of its convolution and that of the norm which is all that gets what this one gives."""
    kind = type(module)
    if isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:
        for conv, norm in pairwise(module._modules):
            yield module, conv, norm
    elif kind is ConvModule:
        in_order = [step for step in module.order if step != "act" or module.with_activation]
        is_plain = not (
            module.with_spectral_norm
            or module.with_explicit_padding
            or getattr(module, "efficient_conv_bn_eval_forward", None) is not None
        )
        if is_plain and module.with_norm and ("conv", "norm") in pairwise(in_order):
            yield module, "conv", module.norm_name
    elif kind in _BLOCKS:
        for number in range(1, _BLOCKS[kind] + 1):
            yield module, f"conv{number}", getattr(module, f"norm{number}_name")
    elif kind is ResNet and not module.deep_stem:
        yield module, "conv1", module.norm1_name


def _is_foldable(conv: nn.Module | None, norm: nn.Module | None) -> bool:
    return (
        isinstance(conv, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
        and not norm.training
    )


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give the convolution the norm's factor and offset; they are computed in double precision."""
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    bias = torch.zeros_like(factor) if conv.bias is None else conv.bias.double()
    bias = (bias - norm.running_mean.double()) * factor
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    # In place: the weights keep their order in memory, channels last or not.
    conv.weight.copy_(conv.weight.double() * factor[:, None, None, None])
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
