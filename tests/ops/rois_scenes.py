"""Feature maps with regions on, across and off them, and the operators as differentiable functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from cellseg_mmdet.ops.cpu import deform_roi_pool, roi_align, roi_pool


@dataclass(frozen=True)
class Scene:
    features: Tensor  # (N, C, H, W)
    rois: Tensor  # (K, 5)
    bins_hw: tuple[int, int]
    scale: float
    ratio: int


@st.composite
def scenes(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> Scene:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = [draw(st.integers(1, most)) for most in (3, 40, 12, 12)]
    features = torch.randn(shape, generator=generator, dtype=dtype)
    count = draw(st.integers(0, 6))
    scale = draw(st.sampled_from([1.0, 0.5, 0.25]))
    extent = torch.tensor([shape[3], shape[2]]) / scale
    low = (torch.rand(count, 2, generator=generator) * 1.6 - 0.4) * extent
    size = torch.rand(count, 2, generator=generator) ** 2 * extent * 1.5
    if draw(st.booleans()):  # edges that meet pixel centres and borders
        low, size = low.round(), size.round()
    index = torch.randint(shape[0], (count, 1), generator=generator)
    rois = torch.cat([index, low, low + size], dim=1).to(dtype)
    bins_hw = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return Scene(features, rois, bins_hw, scale, draw(st.sampled_from([0, 1, 2, 3])))


def align(scene: Scene, aligned: bool, maximum: bool = False, operators: Any = roi_align) -> Any:
    """Return bins and where the greatest samples lie."""
    shape = (len(scene.rois), scene.features.shape[1], *scene.bins_hw)
    output = scene.features.new_zeros(shape)
    places = [scene.features.new_zeros(shape if maximum else 0) for _ in range(2)]
    operators.roi_align_forward(
        scene.features,
        scene.rois,
        output,
        *places,
        aligned_height=scene.bins_hw[0],
        aligned_width=scene.bins_hw[1],
        spatial_scale=scene.scale,
        sampling_ratio=scene.ratio,
        pool_mode=0 if maximum else 1,
        aligned=aligned,
    )
    return output, places


def align_gradient(
    scene: Scene,
    grad_output: Tensor,
    places: list[Tensor],
    aligned: bool,
    maximum: bool = False,
    operators: Any = roi_align,
) -> Tensor:
    gradient = torch.zeros_like(scene.features)
    operators.roi_align_backward(
        grad_output,
        scene.rois,
        *places,
        gradient,
        aligned_height=scene.bins_hw[0],
        aligned_width=scene.bins_hw[1],
        spatial_scale=scene.scale,
        sampling_ratio=scene.ratio,
        pool_mode=0 if maximum else 1,
        aligned=aligned,
    )
    return gradient


def pool(scene: Scene) -> tuple[Tensor, Tensor]:
    shape = (len(scene.rois), scene.features.shape[1], *scene.bins_hw)
    output = scene.features.new_full(shape, 7)
    argmax = torch.zeros(shape, dtype=torch.int32)
    roi_pool.roi_pool_forward(
        scene.features, scene.rois, output, argmax, *scene.bins_hw, spatial_scale=scene.scale
    )
    return output, argmax


class DeformRoIPool(torch.autograd.Function):
    """As in mmcv: the operators under autograd."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, offset: Tensor, scene: Scene, gamma: float) -> Tensor:
        ctx.settings = (*scene.bins_hw, scene.scale, scene.ratio, gamma)
        output = features.new_zeros(len(scene.rois), features.shape[1], *scene.bins_hw)
        deform_roi_pool.deform_roi_pool_forward(features, scene.rois, offset, output, *ctx.settings)
        ctx.save_for_backward(features, scene.rois, offset)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        features, rois, offset = ctx.saved_tensors
        gradients = torch.zeros_like(features), torch.zeros_like(offset)
        deform_roi_pool.deform_roi_pool_backward(
            grad_output, features, rois, offset, *gradients, *ctx.settings
        )
        return *gradients, None, None


class RoIAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, scene: Scene, aligned: bool, maximum: bool) -> Tensor:
        ctx.scene, ctx.modes = scene, (aligned, maximum)
        current = Scene(features.detach(), scene.rois, scene.bins_hw, scene.scale, scene.ratio)
        output, ctx.places = align(current, aligned, maximum)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return align_gradient(ctx.scene, grad_output, ctx.places, *ctx.modes), None, None, None
