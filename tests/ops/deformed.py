"""Deformable convolutions to test: their cases, their inputs, and mmcv's layers on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmcv.ops import deform_conv2d, modulated_deform_conv2d
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """Sizes of one convolution."""

    batch: int = 2
    channels: int = 4
    outputs: int = 6
    size_hw: tuple[int, int] = (9, 7)
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    groups: int = 1
    offset_groups: int = 1

    def output_hw(self) -> tuple[int, int]:
        rows, columns = (
            (length + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1
            for length in self.size_hw
        )
        return rows, columns


CASES = (
    Case(),
    Case(batch=1, stride=2, groups=2, offset_groups=2),
    Case(batch=3, channels=8, outputs=4, padding=2, dilation=2, groups=2, offset_groups=4),
    Case(channels=2, outputs=2, kernel=1, padding=0),
    Case(size_hw=(20, 20), kernel=5, padding=2, offset_groups=2),
    Case(size_hw=(1, 1), channels=1, outputs=1),
)


def draw(case: Case, masked: bool, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return input, offset, weight and, if ``masked``, mask and bias.

    Samples keep away from whole pixels, where a bilinear sample has no slope.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    places = case.offset_groups * case.kernel**2
    shifts = 2 * normal(case.batch, 2 * places, *case.output_hw())
    shifts = shifts.floor() + 0.05 + 0.9 * (shifts - shifts.floor())
    inputs = {
        "input": normal(case.batch, case.channels, *case.size_hw),
        "offset": shifts,
        "weight": normal(case.outputs, case.channels // case.groups, case.kernel, case.kernel) / 4,
    }
    if masked:
        inputs["mask"] = normal(case.batch, places, *case.output_hw()).sigmoid()
        inputs["bias"] = normal(case.outputs)
    return {name: tensor.to(dtype) for name, tensor in inputs.items()}


def convolve(inputs: dict[str, Tensor], case: Case) -> Tensor:
    """Return what mmcv's layer makes of the inputs."""
    geometry = (case.stride, case.padding, case.dilation, case.groups, case.offset_groups)
    data, offset, weight = (inputs[name] for name in ("input", "offset", "weight"))
    if "mask" in inputs:
        return modulated_deform_conv2d(
            data, offset, inputs["mask"], weight, inputs["bias"], *geometry
        )
    return deform_conv2d(data, offset, weight, *geometry)


def gradients_of(inputs: dict[str, Tensor], case: Case, function=convolve) -> list[Tensor]:
    """Return the output and the gradients of all inputs."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    output = function(leaves, case)
    output.backward(torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output))
    return [output.detach(), *(leaf.grad for leaf in leaves.values())]
