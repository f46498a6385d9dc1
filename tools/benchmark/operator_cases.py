"""The operators that ``operators.py`` times, at the sizes of the configs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

Work = Callable[[ModuleType], Any]


@dataclass(frozen=True)
class Case:
    """A row of the table: ``prepare`` returns work that takes the module of operators."""

    title: str
    prepare: Callable[[], Work]


def boxes(count: int, extent: float) -> torch.Tensor:
    """Return boxes of 8 to 148 pixels a side, as cells and their clumps have, (count, 4)."""
    generator = torch.Generator().manual_seed(0)
    centre = extent * torch.rand(count, 2, generator=generator)
    side = 8 * torch.exp(2.9 * torch.rand(count, 2, generator=generator) ** 2)
    return torch.cat([centre - side / 2, centre + side / 2], dim=1)


def suppress(count: int) -> Work:
    drawn, scores = boxes(count, 800), torch.rand(count)
    return lambda module: module.nms(drawn, scores, iou_threshold=0.7, offset=0)


def soften(count: int) -> Work:
    drawn, scores, rows = boxes(count, 800), torch.rand(count), torch.zeros(count, 5)
    return lambda module: module.softnms(
        drawn, scores, rows, iou_threshold=0.5, sigma=0.5, min_score=0.01, method=2, offset=0
    )


def match(count: int) -> Work:
    detections = torch.cat([boxes(count, 800), torch.rand(count, 1)], dim=1)
    return lambda module: module.nms_match(detections, iou_threshold=0.7)


def align(
    count: int, channels: int, side: int, bins: int, backward: bool, pool_mode: int = 1
) -> Work:
    """RoIAlign on a level of ``side`` x ``side`` of a picture of 800 pixels."""
    scale = side / 800
    rois = torch.cat([torch.zeros(count, 1), boxes(count, 800)], dim=1)
    pixels, empty = torch.randn(1, channels, side, side), torch.zeros(0)
    values, total = torch.randn(count, channels, bins, bins), torch.zeros_like(pixels)
    places = torch.zeros(2, *values.shape) if pool_mode == 0 else (empty, empty)
    arguments = {
        "aligned_height": bins,
        "aligned_width": bins,
        "spatial_scale": scale,
        "sampling_ratio": 0,
        "pool_mode": pool_mode,
        "aligned": True,
    }
    if backward:
        return lambda module: module.roi_align_backward(values, rois, *places, total, **arguments)
    return lambda module: module.roi_align_forward(pixels, rois, values, *places, **arguments)


def deform(channels: int, size_hw: tuple[int, int], masked: bool, backward: bool) -> Work:
    """A 3 x 3 deformable convolution, by mmcv's own Python."""
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d
    from operators import use

    data, offset = torch.randn(1, channels, *size_hw), 2 * torch.randn(1, 18, *size_hw)
    weight, mask = torch.randn(channels, channels, 3, 3) / 48, torch.rand(1, 9, *size_hw)
    leaves = [tensor.requires_grad_(backward) for tensor in (data, offset, mask, weight)]

    def work(module: ModuleType) -> None:
        use(module)
        plain = (data, offset, weight, 1, 1)
        output = modulated_deform_conv2d(*leaves, None, 1, 1) if masked else deform_conv2d(*plain)
        if backward:
            output.backward(output.detach())

    return work


def _cases() -> list[Case]:
    found = [
        Case(f"NMS, {count} boxes", functools.partial(suppress, count)) for count in (1000, 6000)
    ]
    found.append(Case("soft NMS, 2000 boxes", functools.partial(soften, 2000)))
    found.append(Case("NMS by groups, 2000 boxes", functools.partial(match, 2000)))
    for count, channels, side, bins in (
        (1000, 256, 200, 7),
        (1000, 256, 50, 7),
        (200, 256, 200, 14),
        (1000, 64, 200, 7),
        (1000, 64, 100, 14),
    ):
        for backward in (False, True):
            title = (
                f"RoIAlign{' backward' if backward else ''}, {count} boxes, {channels} channels of "
                f"{side} x {side}, {bins} x {bins} bins"
            )
            found.append(
                Case(title, functools.partial(align, count, channels, side, bins, backward))
            )
    for backward in (False, True):
        title = f"RoIAlign, maximum{', backward' if backward else ''}, 500 boxes, 64 channels of 100 x 100"
        found.append(Case(title, functools.partial(align, 500, 64, 100, 7, backward, 0)))
    for masked in (False, True):
        for backward in (False, True):
            title = (
                f"deformable convolution{' with mask' if masked else ''}"
                f"{', forward and backward' if backward else ''}, 256 channels of 50 x 68"
            )
            found.append(Case(title, functools.partial(deform, 256, (50, 68), masked, backward)))
    return found


CASES = _cases()
