"""mmcv's operators on CUDA by torchvision's, where torchvision has them.

Each function has name and arguments of ``mmcv._ext``'s. torchvision sums gradients with atomic additions, as mmcv's
CUDA kernels do: the last digits of a backward pass may differ from run to run.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from cellseg_mmdet.ops.dispatch import REMEDY, OperatorMissingError


@functools.cache
def _torchvision() -> Any:
    """Return torchvision's operators, ``torch.ops.torchvision``.

    Raises:
        OperatorMissingError: without a torchvision that fits this torch.
    """
    try:
        import torchvision

        torchvision.extension._assert_has_ops()
    except (ImportError, OSError, RuntimeError) as error:
        raise OperatorMissingError(
            f"On CUDA, mmcv's operators are torchvision's, which cannot be used: {error}. Install the torchvision "
            f"that belongs to torch {torch.__version__}, or {REMEDY}."
        ) from error
    return torch.ops.torchvision


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Return the indices of the boxes that are kept, (K,) int64, by falling score.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        offset: 1 where the last pixel belongs to the box, so that its width is x2 - x1 + 1.
    """
    shift = boxes.new_tensor([0, 0, offset, offset])
    kept: Tensor = _torchvision().nms(boxes + shift, scores, iou_threshold)
    return kept


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the averages of the bins into ``output``, (K, C, aligned_height, aligned_width).

    Raises:
        OperatorMissingError: for ``pool_mode`` 0, the maximum.
    """
    _only_average(pool_mode)
    output.copy_(
        _torchvision().roi_align(
            input, rois, spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the input to ``grad_input``, (N, C, H, W)."""
    _only_average(pool_mode)
    grad_input += _torchvision()._roi_align_backward(
        grad_output,
        rois,
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )


def _only_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise OperatorMissingError(
            f"torchvision's RoIAlign has no pool_mode='max' on CUDA: take pool_mode='avg', or {REMEDY}."
        )


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maxima of the bins into ``output`` and where they were into ``argmax``.

    torchvision rounds RoIs to whole pixels of ``input``, mmcv's operator does not.
    """
    pooled, places = _torchvision().roi_pool(
        input, rois, spatial_scale, pooled_height, pooled_width
    )
    output.copy_(pooled)
    argmax.copy_(places)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of the input to ``grad_input``, (N, C, H, W)."""
    grad_input += _torchvision()._roi_pool_backward(
        grad_output,
        rois,
        argmax,
        spatial_scale,
        pooled_height,
        pooled_width,
        *grad_input.shape,
    )


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the deformable convolution (no modulation, no bias) into ``output``."""
    mask, bias = _no_mask(input), weight.new_zeros(weight.shape[0])
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False)
    output.copy_(_torchvision().deform_conv2d(input, weight, offset, mask, bias, *geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients of input and offset into ``grad_input`` and ``grad_offset``."""
    mask, bias = _no_mask(input), weight.new_zeros(weight.shape[0])
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False)
    gradients = _torchvision()._deform_conv2d_backward(
        grad_output, input, weight, offset, mask, bias, *geometry
    )
    grad_input.copy_(gradients[0])
    grad_offset.copy_(gradients[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add the gradient of the weights, times ``scale``, to ``grad_weight``."""
    mask, bias = _no_mask(input), grad_weight.new_zeros(grad_weight.shape[0])
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False)
    # The weights' own gradient does not depend on the weights.
    gradients = _torchvision()._deform_conv2d_backward(
        grad_output, input, torch.zeros_like(grad_weight), offset, mask, bias, *geometry
    )
    grad_weight.add_(gradients[1], alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the modulated deformable convolution into ``output``."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    added = bias if with_bias else weight.new_zeros(weight.shape[0])
    output.copy_(_torchvision().deform_conv2d(input, weight, offset, mask, added, *geometry, True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write or add the gradients into the five ``grad_`` tensors of the inputs, as mmcv's operator does."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    added = bias if with_bias else weight.new_zeros(weight.shape[0])
    gradients = _torchvision()._deform_conv2d_backward(
        grad_output, input, weight, offset, mask, added, *geometry, True
    )
    grad_input.copy_(gradients[0])
    grad_weight += gradients[1]
    grad_offset.copy_(gradients[2])
    grad_mask.copy_(gradients[3])
    if with_bias:
        grad_bias += gradients[4]


def _no_mask(input: Tensor) -> Tensor:
    return input.new_zeros((input.shape[0], 0, 0, 0))
