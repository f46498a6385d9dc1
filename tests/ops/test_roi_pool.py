from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from cellseg_mmdet.ops.cpu.roi_pool import roi_pool_backward
from tests.ops import reference_rois
from tests.ops.rois_scenes import Scene, pool, scenes


def ramp(*rois: list[float], bins_hw: tuple[int, int] = (1, 1)) -> Scene:
    """A 6 x 8 map of the value 8 y + x, which is also a pixel's place."""
    return Scene(torch.arange(48.0).reshape(1, 1, 6, 8), torch.tensor(rois), bins_hw, 1.0, 0)


def gradient_of(scene: Scene, weights: torch.Tensor, argmax: torch.Tensor) -> torch.Tensor:
    gradient = torch.zeros_like(scene.features)
    roi_pool_backward(
        weights, scene.rois, argmax, gradient, *scene.bins_hw, spatial_scale=scene.scale
    )
    return gradient


def test_by_hand() -> None:
    scene = ramp([0, 1, 1, 4, 4], bins_hw=(2, 2))  # pixels 1 ... 4, two to a bin
    output, argmax = pool(scene)
    assert output[0, 0].tolist() == [[18, 20], [34, 36]]
    assert torch.equal(argmax, output.int())
    gradient = gradient_of(scene, torch.tensor([[[[1.0, 2], [3, 4]]]]), argmax)
    assert gradient.flatten()[[18, 20, 34, 36]].tolist() == [1, 2, 3, 4] and gradient.sum() == 10


@settings(max_examples=60)
@given(scenes())
def test_as_the_slow_reference(scene: Scene) -> None:
    output, argmax = pool(scene)
    features = scene.features.clone().requires_grad_()
    expected = reference_rois.roi_pool(features, scene.rois, scene.bins_hw, scene.scale)
    assert torch.equal(output, expected)
    if expected.requires_grad:
        weights = torch.randn_like(output)
        (gradient,) = torch.autograd.grad((expected * weights).sum(), features)
        assert torch.allclose(gradient_of(scene, weights, argmax), gradient)


def test_no_pixel_no_value_and_no_gradient() -> None:
    scene = ramp([0, -50, -50, -40, -40], [0, 4, 4, 1, 1])
    output, argmax = pool(scene)
    assert output.flatten().tolist() == [0, 0] and argmax.flatten().tolist() == [-1, -1]
    assert not gradient_of(scene, torch.ones(2, 1, 1, 1), argmax).any()


def test_an_absurd_box_is_the_whole_map() -> None:
    output, _ = pool(ramp([0, -1e30, -1e30, 1e30, 1e30]))
    assert output.item() == 47


def test_nan_is_passed_over_unless_there_is_nothing_else() -> None:
    scene = ramp([0, 0, 0, 1, 0], [0, 0, 0, 0, 0])
    scene.features[0, 0, 0, 0] = math.nan
    output, _ = pool(scene)
    assert output[0].item() == 1 and math.isnan(output[1].item())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats(dtype: torch.dtype) -> None:
    scene = ramp([0, 1, 1, 4, 4])
    scene = replace(scene, features=scene.features.to(dtype), rois=scene.rois.to(dtype))
    output, argmax = pool(scene)
    assert output.dtype is dtype and output.item() == argmax.item() == 36


def test_the_same_for_every_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(40, 2, generator=generator) * 20
    rois = torch.cat([torch.zeros(40, 1), low, low + 6], dim=1)
    scene = Scene(torch.randn(1, 33, 24, 24, generator=generator), rois, (2, 3), 1.0, 0)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        output, argmax = pool(scene)
        results.append((output, gradient_of(scene, output, argmax)))
    torch.set_num_threads(before)
    assert all(torch.equal(results[0][0], other[0]) for other in results)
    assert all(torch.equal(results[0][1], other[1]) for other in results)


@pytest.mark.parametrize(
    ("roi", "message"),
    [([3, 0, 0, 1, 1], "RoI 0 is .*from 0 to 0"), ([0, 0, math.nan, 1, 1], "RoI 0 is .*finite")],
)
def test_a_region_that_is_none_is_named(roi: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool(ramp(roi))
