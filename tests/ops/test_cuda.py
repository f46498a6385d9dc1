"""The operators for CUDA are torchvision's, which work on CPU tensors too: there they have to agree with ours."""

from __future__ import annotations

import pytest
import torch

from cellseg_mmdet.ops import cuda, dispatch
from cellseg_mmdet.ops.cpu import deform_conv as cpu_deform_conv
from cellseg_mmdet.ops.cpu import nms as cpu_nms
from cellseg_mmdet.ops.cpu import roi_align as cpu_roi_align
from cellseg_mmdet.ops.dispatch import OperatorMissingError


def torchvision_fault() -> str:
    try:
        cuda._torchvision()
    except OperatorMissingError as error:
        return str(error)
    return ""


with_torchvision = pytest.mark.skipif(
    bool(torchvision_fault()), reason="there is no torchvision that fits this torch"
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


def filled(function, arguments: dict, outputs: tuple[str, ...]) -> list[torch.Tensor]:
    own = {name: arguments[name].clone() for name in outputs}
    function(**{**arguments, **own})
    return list(own.values())


def assert_same(name: str, modules: tuple, arguments: dict, outputs: tuple[str, ...]) -> None:
    results = [filled(getattr(module, name), arguments, outputs) for module in modules]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@with_torchvision
@pytest.mark.parametrize("offset", [0, 1])
def test_nms(offset):
    corner = 30 * normal(200, 2).abs()
    boxes = torch.cat([corner, corner + 20 * normal(200, 2, seed=1).abs()], 1).round()
    scores = torch.randperm(200, generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(
        cuda.nms(boxes, scores, 0.4, offset), cpu_nms.nms(boxes, scores, 0.4, offset)
    )


@with_torchvision
@pytest.mark.parametrize("aligned", [False, True])
def test_roi_align(aligned):
    corner = 8 * normal(9, 2).abs()
    rois = torch.cat([torch.arange(9)[:, None] % 2, corner, corner + 6], 1)
    geometry = {
        "aligned_height": 3,
        "aligned_width": 2,
        "spatial_scale": 0.5,
        "sampling_ratio": 0,
        "pool_mode": 1,
        "aligned": aligned,
    }
    pixels, values, empty = normal(2, 3, 10, 11), torch.zeros(9, 3, 3, 2), torch.zeros(0)
    common = {"rois": rois, "argmax_y": empty, "argmax_x": empty, **geometry}
    modules = cuda, cpu_roi_align
    assert_same(
        "roi_align_forward", modules, {"input": pixels, "output": values, **common}, ("output",)
    )
    backward = {"grad_output": normal(9, 3, 3, 2), "grad_input": torch.zeros_like(pixels), **common}
    assert_same("roi_align_backward", modules, backward, ("grad_input",))


@with_torchvision
@pytest.mark.parametrize("with_bias", [False, True])
def test_deformable_convolutions(with_bias):
    inputs = {
        "input": normal(2, 4, 9, 7),
        "weight": normal(6, 2, 3, 3),
        "offset": normal(2, 36, 5, 4) + 0.013,
    }
    empty, output = torch.zeros(0), torch.zeros(2, 6, 5, 4)
    plain = {"kW": 3, "kH": 3, "dW": 2, "dH": 2, "padW": 1, "padH": 1, "dilationW": 1}
    plain |= {"dilationH": 1, "group": 2, "deformable_group": 2, "im2col_step": 2, "columns": empty}
    modules = cuda, cpu_deform_conv
    forward = {**inputs, **plain, "output": output, "ones": empty}
    assert_same("deform_conv_forward", modules, forward, ("output",))
    gradient = normal(2, 6, 5, 4, seed=1)
    totals = {f"grad_{name}": torch.zeros_like(tensor) for name, tensor in inputs.items()}
    backward = {**inputs, **plain, "grad_output": gradient}
    backward |= {name: totals[name] for name in ("grad_input", "grad_offset")}
    assert_same("deform_conv_backward_input", modules, backward, ("grad_input", "grad_offset"))
    by_weight = {name: inputs[name] for name in ("input", "offset")} | plain
    by_weight |= {
        "grad_output": gradient,
        "grad_weight": totals["grad_weight"],
        "ones": empty,
        "scale": 0.5,
    }
    assert_same("deform_conv_backward_parameters", modules, by_weight, ("grad_weight",))

    inputs |= {"mask": normal(2, 18, 5, 4).sigmoid(), "bias": normal(6)}
    masked = {"kernel_h": 3, "kernel_w": 3, "stride_h": 2, "stride_w": 2, "pad_h": 1, "pad_w": 1}
    masked |= {"dilation_h": 1, "dilation_w": 1, "group": 2, "deformable_group": 2}
    masked |= {"with_bias": with_bias, "ones": empty, "columns": empty}
    assert_same(
        "modulated_deform_conv_forward",
        modules,
        {**inputs, **masked, "output": output},
        ("output",),
    )
    totals = {f"grad_{name}": torch.zeros_like(tensor) for name, tensor in inputs.items()}
    backward = {**inputs, **masked, **totals, "grad_output": gradient}
    assert_same("modulated_deform_conv_backward", modules, backward, tuple(totals))


@with_torchvision
def test_roi_pool():
    from cellseg_mmdet.ops.cpu import roi_pool as cpu_roi_pool

    corner = 8 * normal(9, 2).abs()
    # torchvision rounds RoIs to whole pixels where mmcv does not: on whole pixels both are the same.
    rois = torch.cat([torch.arange(9)[:, None] % 2, corner.round(), corner.round() + 5], 1)
    pixels = normal(2, 3, 20, 20)
    geometry = {"pooled_height": 2, "pooled_width": 3, "spatial_scale": 1.0, "rois": rois}
    found = []
    for module in (cuda, cpu_roi_pool):
        values, places = torch.zeros(9, 3, 2, 3), torch.zeros(9, 3, 2, 3, dtype=torch.int32)
        module.roi_pool_forward(input=pixels, output=values, argmax=places, **geometry)
        total = torch.zeros_like(pixels)
        module.roi_pool_backward(grad_output=values, argmax=places, grad_input=total, **geometry)
        found.append((values, total))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


def test_the_maximum_of_roi_align_is_not_there():
    empty = torch.zeros(0)
    with pytest.raises(OperatorMissingError, match="no pool_mode='max' on CUDA"):
        cuda.roi_align_forward(empty, empty, empty, empty, empty, 2, 2, 1.0, 0, 0, True)


@pytest.mark.skipif(not torchvision_fault(), reason="there is a torchvision")
def test_without_torchvision_the_remedy_is_told():
    with pytest.raises(OperatorMissingError, match="Install the torchvision that belongs to torch"):
        dispatch.function_of("nms", "cuda")(torch.rand(2, 4), torch.rand(2), 0.5)
