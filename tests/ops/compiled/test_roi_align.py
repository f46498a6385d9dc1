"""RoIAlign as mmcv's compiled operators give it, within 1e-5."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.compiled.extension import compiled
from tests.ops.rois_scenes import Scene, align, align_gradient, scenes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    return compiled()


def compare(extension: ModuleType, scene: Scene, aligned: bool, maximum: bool) -> None:
    expected, expected_places = align(scene, aligned, maximum, extension)
    output, places = align(scene, aligned, maximum)
    assert torch.allclose(output, expected, atol=1e-5, rtol=1e-5)
    for place, expected_place in zip(places, expected_places, strict=True):
        assert torch.equal(place, expected_place)
    weights = torch.randn_like(output)
    expected = align_gradient(scene, weights, expected_places, aligned, maximum, extension)
    gradient = align_gradient(scene, weights, places, aligned, maximum)
    assert torch.allclose(gradient, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("maximum", [True, False], ids=["maximum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_maps(extension: ModuleType, maximum: bool, dtype: torch.dtype) -> None:
    @settings(max_examples=200)
    @given(scene=scenes(dtype), aligned=st.booleans())
    def check(scene: Scene, aligned: bool) -> None:
        compare(extension, scene, aligned, maximum)

    check()


@pytest.mark.parametrize("maximum", [True, False], ids=["maximum", "mean"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("bins", [7, 14])
def test_a_map_of_a_feature_pyramid(
    extension: ModuleType, bins: int, ratio: int, aligned: bool, maximum: bool
) -> None:
    generator = torch.Generator().manual_seed(bins)
    features = torch.randn(2, 33, 50, 68, generator=generator).relu()
    low = torch.rand(100, 2, generator=generator) * torch.tensor([1088.0, 800]) - 40
    size = torch.rand(100, 2, generator=generator) * 250
    index = torch.randint(2, (100, 1), generator=generator)
    rois = torch.cat([index, low, low + size], dim=1)
    compare(extension, Scene(features, rois, (bins, bins), 1 / 16, ratio), aligned, maximum)


@pytest.mark.parametrize("maximum", [True, False], ids=["maximum", "mean"])
def test_float16(extension: ModuleType, maximum: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 8, 20, 20, generator=generator).half()
    low = torch.randint(12, (20, 2), generator=generator)
    rois = torch.cat([torch.zeros(20, 1), low, low + 8], dim=1).half()
    scene = Scene(features, rois, (4, 4), 1.0, 0)
    expected, _ = align(scene, True, maximum, extension)
    output, _ = align(scene, True, maximum)
    # The compiled operator rounds each step to 11 bits, ours only the result.
    assert torch.allclose(output, expected, atol=1e-2)
