from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from tests.ops import reference_rois
from tests.ops.rois_scenes import DeformRoIPool, Scene, scenes

GAMMA = 0.25


def gradients(scene: Scene, offset: torch.Tensor, weights: torch.Tensor) -> Any:
    features, offset = scene.features.clone().requires_grad_(), offset.clone().requires_grad_()
    output = DeformRoIPool.apply(features, offset, scene, GAMMA)
    return output.detach(), *torch.autograd.grad((output * weights).sum(), (features, offset))


def test_an_offset_moves_by_its_part_of_the_size() -> None:
    features = (10.0 * torch.arange(6)[:, None] + torch.arange(8)[None])[None, None]
    scene = Scene(features, torch.tensor([[0.0, 1, 1, 5, 3]]), (1, 1), 1.0, 0)
    still = DeformRoIPool.apply(features, torch.empty(0), scene, 0.5)
    moved = DeformRoIPool.apply(features, torch.tensor([0.5, 1]).reshape(1, 2, 1, 1), scene, 0.5)
    assert still.item() == pytest.approx(17.5)
    # Half of 0.5 x 4 columns and all of 0.5 x 2 rows: a column to the right, a row down.
    assert moved.item() == pytest.approx(17.5 + 1 + 10)


@settings(max_examples=40)
@given(scenes())
def test_as_the_slow_reference(scene: Scene) -> None:
    generator = torch.Generator().manual_seed(1)
    shape = (len(scene.rois), 2, *scene.bins_hw)
    offset = torch.randn(shape, generator=generator, dtype=torch.float64)
    features = scene.features.clone().requires_grad_()
    given_ = offset.clone().requires_grad_()
    expected = reference_rois.roi_align(
        features,
        scene.rois,
        scene.bins_hw,
        scene.scale,
        scene.ratio,
        True,
        offset=given_,
        gamma=GAMMA,
    )
    weights = torch.randn_like(expected)
    output, of_features, of_offset = gradients(scene, offset, weights)
    assert torch.allclose(output, expected, atol=1e-12)
    if expected.requires_grad:
        slow = torch.autograd.grad(
            (expected * weights).sum(), (features, given_), allow_unused=True
        )
        assert torch.allclose(of_features, slow[0], atol=1e-12)
        if slow[1] is not None:
            assert torch.allclose(of_offset, slow[1], atol=1e-10)


def some(count: int = 3, channels: int = 2) -> tuple[Scene, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 12
    size = 3 + torch.rand(count, 2, generator=generator, dtype=torch.float64) * 12
    rois = torch.cat([torch.zeros(count, 1), low, low + size], dim=1)
    features = torch.randn(1, channels, 9, 10, generator=generator, dtype=torch.float64)
    offset = torch.randn(count, 2, 2, 3, generator=generator, dtype=torch.float64)
    return Scene(features, rois, (2, 3), 0.5, 0), offset


@pytest.mark.parametrize("ratio", [0, 2])
def test_gradcheck(ratio: int) -> None:
    scene, offset = some()
    scene = replace(scene, ratio=ratio)
    inputs = scene.features.clone().requires_grad_(), offset.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda features, moves: DeformRoIPool.apply(features, moves, scene, GAMMA), inputs
    )


def test_the_same_for_every_number_of_threads() -> None:
    scene, offset = some(count=40, channels=35)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(gradients(scene, offset, torch.ones(40, 35, 2, 3)))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("ratio", [0, 2, 1000])
def test_a_bin_moved_to_nowhere_is_0(value: float, ratio: int) -> None:
    scene, offset = some()
    output, of_features, of_offset = gradients(
        replace(scene, ratio=ratio), torch.full_like(offset, value), torch.ones(3, 2, 2, 3)
    )
    assert not output.any() and not of_features.any() and not of_offset.any()


def test_regions_of_negative_size() -> None:
    scene, offset = some(count=1)
    scene = replace(scene, rois=torch.tensor([[0.0, 9, 9, 3, 3]]).double())
    assert not DeformRoIPool.apply(scene.features, offset, scene, GAMMA).any()
    scene = replace(scene, ratio=3)
    expected = reference_rois.roi_align(
        scene.features, scene.rois, (2, 3), 0.5, 3, True, offset=offset, gamma=GAMMA
    )
    assert torch.allclose(DeformRoIPool.apply(scene.features, offset, scene, GAMMA), expected)


def test_what_does_not_fit_is_named() -> None:
    scene, offset = some()
    with pytest.raises(ValueError, match=r"offset has shape \(2, 2, 2, 3\), not \(3, 2, 2, 3\)"):
        DeformRoIPool.apply(scene.features, offset[:2], scene, GAMMA)
    scene.rois[1, 0] = 4
    with pytest.raises(ValueError, match=r"RoI 1 is .*from 0 to 0"):
        DeformRoIPool.apply(scene.features, offset, scene, GAMMA)
