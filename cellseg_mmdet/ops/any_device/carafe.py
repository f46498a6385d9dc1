"""CARAFE (Wang et al. 2019, https://arxiv.org/abs/1905.02188): upsampling with a kernel of its own for each pixel.

The value at (y, x) is the sum over the K x K neighbours of pixel (y // scale, x // scale), weighted by the masks at
(y, x). Each neighbour is one shifted picture, so that no more than one of them is in memory at a time. mmcv's own
Python refuses to go backward on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import pad


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the upsampled features into ``output``, (N, C, H * scale_factor, W * scale_factor).

    Args:
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size^2, H * scale_factor, W * scale_factor).
        group_size: groups of channels, each with masks of its own.
    """
    grouped = output.view(output.shape[0], group_size, -1, *output.shape[2:])
    grouped.zero_()
    for index, neighbour in _neighbours(features, kernel_size, group_size, scale_factor):
        grouped += neighbour * _mask(masks, index, group_size)


def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the gradients of features and masks into ``grad_input`` and ``grad_masks``."""
    batch, channels, height, width = features.shape
    gradient = grad_output.view(batch, group_size, -1, *grad_output.shape[2:])
    by_mask = grad_masks.view(batch, group_size, kernel_size**2, *grad_masks.shape[2:])
    margin = kernel_size // 2
    padded = features.new_zeros(batch, channels, height + 2 * margin, width + 2 * margin)
    for index, neighbour in _neighbours(features, kernel_size, group_size, scale_factor):
        by_mask[:, :, index] = (gradient * neighbour).sum(2)
        weighted = (gradient * _mask(masks, index, group_size)).reshape(
            batch, channels, height, scale_factor, width, scale_factor
        )
        down, across = divmod(index, kernel_size)
        padded[:, :, down : down + height, across : across + width] += weighted.sum((3, 5))
    grad_input.copy_(padded[:, :, margin : margin + height, margin : margin + width])


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Do as `carafe_naive_forward`, and keep the features in ``rfeatures`` for the way back."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Do as `carafe_naive_backward`, with the features that `carafe_forward` kept."""
    carafe_naive_backward(
        grad_output,
        rfeatures,
        masks,
        grad_input,
        grad_masks,
        kernel_size,
        group_size,
        scale_factor,
    )


def _neighbours(
    features: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the neighbours row by row, each (N, group_size, C / group_size, H * scale, W * scale)."""
    batch, channels, height, width = features.shape
    padded = pad(features, [kernel_size // 2] * 4)
    for index in range(kernel_size**2):
        down, across = divmod(index, kernel_size)
        shifted = padded[:, :, down : down + height, across : across + width]
        enlarged = shifted.repeat_interleave(scale_factor, 2).repeat_interleave(scale_factor, 3)
        yield index, enlarged.view(batch, group_size, channels // group_size, *enlarged.shape[2:])


def _mask(masks: Tensor, index: int, group_size: int) -> Tensor:
    """Return the weights of one neighbour, (N, group_size, 1, H * scale, W * scale)."""
    grouped = masks.view(masks.shape[0], group_size, -1, *masks.shape[2:])
    return grouped[:, :, index : index + 1]
