"""Multi-scale deformable attention (Zhu et al. 2021, https://arxiv.org/abs/2010.04159) in torch alone.

On the CPU mmcv takes a way of its own in torch and never calls these; on CUDA it asks for the operator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int = 64,
) -> Tensor:
    """Return the weighted sum of the sampled values, (batch, queries, heads * channels).

    Args:
        value: (batch, keys, heads, channels), the levels' pixels one after the other, row by row.
        value_spatial_shapes: (levels, 2) height and width of each level.
        value_level_start_index: (levels,) where each level begins; follows from the shapes.
        sampling_locations: (batch, queries, heads, levels, points, 2) as x, y in [0, 1] of the level.
        attention_weights: (batch, queries, heads, levels, points).
        im2col_step: not needed here.
    """
    batch, _, heads, channels = value.shape
    _, queries, _, levels, points, _ = sampling_locations.shape
    sizes_hw = [(int(height), int(width)) for height, width in value_spatial_shapes.tolist()]
    per_level = value.split([height * width for height, width in sizes_hw], dim=1)
    grids = (2 * sampling_locations - 1).permute(0, 2, 1, 3, 4, 5).flatten(0, 1)
    samples = []
    for level, (size_hw, pixels) in enumerate(zip(sizes_hw, per_level, strict=True)):
        picture = pixels.permute(0, 2, 3, 1).reshape(batch * heads, channels, *size_hw)
        samples.append(grid_sample(picture, grids[:, :, level], align_corners=False))
    weights = attention_weights.permute(0, 2, 1, 3, 4).reshape(
        batch * heads, 1, queries, levels * points
    )
    summed = (torch.cat(samples, dim=-1) * weights).sum(-1)  # (batch * heads, channels, queries)
    return summed.view(batch, heads * channels, queries).transpose(1, 2).contiguous()


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int = 64,
) -> None:
    """Write the gradients into the last three tensors, from the arguments of the forward pass."""
    with torch.enable_grad():
        inputs = [
            tensor.detach().requires_grad_()
            for tensor in (value, sampling_locations, attention_weights)
        ]
        output = ms_deform_attn_forward(
            inputs[0], value_spatial_shapes, value_level_start_index, inputs[1], inputs[2]
        )
    gradients = torch.autograd.grad(output, inputs, grad_output)
    for target, gradient in zip(
        (grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True
    ):
        target.copy_(gradient)
