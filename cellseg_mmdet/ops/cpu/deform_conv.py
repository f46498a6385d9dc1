"""Deformable convolution without (v1) and with (v2) a mask, forward and backward: one picture after the other.

The matrix products are torch's: as those of its own convolutions, their last digits may change with the number of
threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu.deform_columns import (
    Geometry,
    Samples,
    add_to_offset,
    add_to_picture,
    columns_of,
    samples_of,
)
from cellseg_mmdet.ops.tensors import as_array, give


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
    """Write the convolution into ``output``, (N, O, rows, columns).

    Args:
        input: (N, C, H, W).
        weight: (O, C / group, kH, kW).
        offset: (N, deformable_group * 2 * kH * kW, rows, columns), shifts along y and x in turn.
        columns, ones, im2col_step: buffers of the compiled operator, not needed here.

    Raises:
        ValueError: where the shapes do not go together.
    """
    geometry = Geometry((kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), deformable_group)
    _check("deform_conv", input, weight, offset, group, geometry)
    values = as_array(output)
    _forward(input, weight, offset, None, group, geometry, values)
    give(output, values)


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
    """Add the gradients of input and shifts to ``grad_input`` and ``grad_offset``."""
    geometry = Geometry((kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), deformable_group)
    by_input, by_offset = as_array(grad_input), as_array(grad_offset)
    totals = [by_input, by_offset, None, None]
    _backward(input, weight, offset, None, grad_output, group, geometry, totals)
    give(grad_input, by_input)
    give(grad_offset, by_offset)


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
    geometry = Geometry((kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), deformable_group)
    total = np.zeros_like(as_array(grad_weight))
    _backward(
        input, grad_weight, offset, None, grad_output, group, geometry, [None, None, None, total]
    )
    grad_weight.add_(torch.from_numpy(total).to(grad_weight), alpha=scale)


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
    """Write the convolution with masked samples into ``output``; ``mask`` is (N, deformable_group * kH * kW, ...).

    Raises:
        ValueError: where the shapes do not go together.
    """
    geometry = Geometry(
        (kernel_h, kernel_w),
        (stride_h, stride_w),
        (pad_h, pad_w),
        (dilation_h, dilation_w),
        deformable_group,
    )
    _check("modulated_deform_conv", input, weight, offset, group, geometry)
    values = as_array(output)
    _forward(input, weight, offset, mask, group, geometry, values)
    if with_bias:
        values += as_array(bias)[:, None, None]
    give(output, values)


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
    """Add the gradients of all inputs to the ``grad_`` tensors of their names."""
    geometry = Geometry(
        (kernel_h, kernel_w),
        (stride_h, stride_w),
        (pad_h, pad_w),
        (dilation_h, dilation_w),
        deformable_group,
    )
    targets = (grad_input, grad_offset, grad_mask, grad_weight)
    totals = [as_array(target) for target in targets]
    _backward(input, weight, offset, mask, grad_output, group, geometry, totals)
    for target, total in zip(targets, totals, strict=True):
        give(target, total)
    if with_bias:
        grad_bias += grad_output.sum(dim=(0, 2, 3))


def _check(
    operator: str, input: Tensor, weight: Tensor, offset: Tensor, group: int, geometry: Geometry
) -> None:
    """Compare shapes before a kernel reads memory by them."""
    places = geometry.kernel_hw[0] * geometry.kernel_hw[1]
    wanted = (
        input.shape[0],
        geometry.offset_groups * 2 * places,
        *geometry.output_hw(*input.shape[2:]),
    )
    if tuple(offset.shape) != wanted:
        raise ValueError(f"{operator}: offset has shape {tuple(offset.shape)}, needed is {wanted}")
    if input.shape[1] != weight.shape[1] * group:
        raise ValueError(
            f"{operator}: input has {input.shape[1]} channels, "
            f"the weights need {weight.shape[1]} x {group} groups"
        )
    if input.shape[1] % geometry.offset_groups:
        raise ValueError(
            f"{operator}: {input.shape[1]} channels do not go into {geometry.offset_groups} offset groups"
        )


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    group: int,
    geometry: Geometry,
    values: np.ndarray,
) -> None:
    pictures, masks = as_array(input), None if mask is None else as_array(mask)
    shifts = as_array(offset)
    matrices = _real(weight).reshape(group, weight.shape[0] // group, -1)
    for index, picture in enumerate(pictures):
        samples = samples_of(shifts[index], geometry, *picture.shape[1:])
        columns = columns_of(picture, samples, None if masks is None else masks[index])
        grouped = torch.from_numpy(columns).view(group, -1, columns.shape[1])
        values[index] = torch.bmm(matrices, grouped).view(values.shape[1:]).numpy()


def _backward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    grad_output: Tensor,
    group: int,
    geometry: Geometry,
    totals: Sequence[np.ndarray | None],
) -> None:
    """Add to ``totals``: gradients of input, shifts, mask and weights; what is None is not wanted."""
    by_input, by_offset, by_mask, by_weight = totals
    pictures, masks = as_array(input), None if mask is None else as_array(mask)
    shifts, gradients = as_array(offset), _real(grad_output)
    matrices = _real(weight).reshape(group, weight.shape[0] // group, -1)
    for index, picture in enumerate(pictures):
        one_mask = None if masks is None else masks[index]
        samples: Samples = samples_of(shifts[index], geometry, *picture.shape[1:])
        gradient = gradients[index].reshape(group, matrices.shape[1], -1)
        if by_input is not None and by_offset is not None:
            by_column = torch.bmm(matrices.transpose(1, 2), gradient).flatten(0, 1).numpy()
            add_to_picture(by_column, samples, one_mask, by_input[index])
            mask_total = None if by_mask is None else by_mask[index]
            add_to_offset(by_column, picture, samples, one_mask, by_offset[index], mask_total)
        if by_weight is not None:
            columns = torch.from_numpy(columns_of(picture, samples, one_mask))
            grouped = columns.view(group, -1, columns.shape[1]).transpose(1, 2)
            by_weight += torch.bmm(gradient, grouped).view(weight.shape).numpy()


def _real(tensor: Tensor) -> Tensor:
    """Return the values in the type that is calculated in, without gradient."""
    return torch.from_numpy(as_array(tensor))
