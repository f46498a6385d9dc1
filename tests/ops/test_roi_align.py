from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops import reference_rois
from tests.ops.forks import in_a_fork
from tests.ops.rois_scenes import RoIAlign, Scene, align, align_gradient, scenes

MODES = [pytest.param(True, id="maximum"), pytest.param(False, id="mean")]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ramp(rois: list[list[float]], bins_hw: tuple[int, int] = (1, 1), ratio: int = 0) -> Scene:
    """A 6 x 8 map of the value 10 y + x."""
    features = 10.0 * torch.arange(6)[:, None] + torch.arange(8)[None]
    return Scene(features[None, None], torch.tensor(rois), bins_hw, 1.0, ratio)


def many(dtype: torch.dtype = torch.float32, channels: int = 70) -> Scene:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(60, 2, generator=generator) * 40 - 5
    size = torch.rand(60, 2, generator=generator) * 25
    index = torch.randint(2, (60, 1), generator=generator)
    features = torch.randn(2, channels, 17, 23, generator=generator)
    rois = torch.cat([index, low, low + size], dim=1)
    return Scene(features.to(dtype), rois.to(dtype), (3, 4), 0.5, 0)


def test_the_mean_of_a_ramp_is_its_middle() -> None:
    output, _ = align(ramp([[0, 1, 1, 5, 3], [0, 2, 2, 4, 4]]), aligned=True)
    # Pixel centres are half a pixel inside: the middle of the box (3, 2) is (2.5, 1.5) on the map.
    assert output.flatten().tolist() == pytest.approx([17.5, 27.5])


def test_bins_of_a_ramp() -> None:
    output, _ = align(ramp([[0, 0.5, 0.5, 4.5, 4.5]], bins_hw=(2, 2)), aligned=True)
    assert output[0, 0].tolist() == [[11, 13], [31, 33]]


def test_the_old_way_neither_shifts_nor_allows_less_than_a_pixel() -> None:
    output, _ = align(ramp([[0, 1, 1, 5, 3], [0, 2, 2, 2, 2]]), aligned=False)
    assert output.flatten().tolist() == pytest.approx([23, 27.5])  # the second is one of 2 ... 3


def test_the_maximum_and_its_place() -> None:
    output, (y, x) = align(ramp([[0, 0.5, 0.5, 4.5, 4.5]], ratio=2), aligned=True, maximum=True)
    assert (output.item(), y.item(), x.item()) == (33, 3, 3)


@pytest.mark.parametrize("maximum", MODES)
@settings(max_examples=40)
@given(scene=scenes(), aligned=st.booleans())
def test_as_the_slow_reference(maximum: bool, scene: Scene, aligned: bool) -> None:
    output, places = align(scene, aligned, maximum)
    features = scene.features.clone().requires_grad_()
    settings_ = (scene.rois, scene.bins_hw, scene.scale, scene.ratio, aligned, maximum)
    expected = reference_rois.roi_align(features, *settings_)
    assert torch.allclose(output, expected, atol=1e-12)
    if not maximum and expected.requires_grad:  # two equal maxima share no gradient with torch's
        weights = torch.randn_like(output)
        (gradient,) = torch.autograd.grad((expected * weights).sum(), features)
        assert torch.allclose(align_gradient(scene, weights, places, aligned), gradient, atol=1e-12)


@pytest.mark.parametrize("maximum", MODES)
@pytest.mark.parametrize("aligned", [True, False])
def test_gradcheck(maximum: bool, aligned: bool) -> None:
    scene = replace(many(torch.float64, channels=2), bins_hw=(2, 2))
    scene = replace(scene, rois=scene.rois[:4])
    features = scene.features.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda values: RoIAlign.apply(values, scene, aligned, maximum), (features,)
    )


@pytest.mark.parametrize("maximum", MODES)
def test_the_same_to_the_last_bit_for_every_number_of_threads(maximum: bool) -> None:
    scene = many()
    weights = torch.randn(60, 70, 3, 4)
    results = []
    for threads in (1, 2, 3, 5, 1):
        torch.set_num_threads(threads)
        output, places = align(scene, True, maximum)
        gradient = align_gradient(scene, weights, places, True, maximum)
        results.append((output, gradient, *places))
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


def test_several_python_threads_at_once_and_after_a_fork() -> None:
    torch.set_num_threads(2)
    scene = many(
        channels=8
    )  # less than what torch itself shares out among threads, which a fork loses
    alone, _ = align(scene, True)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: align(scene, True)[0], range(12)))
    assert all(torch.equal(alone, output) for output in together)
    assert in_a_fork(lambda: torch.equal(alone, align(scene, True)[0]))


@pytest.mark.parametrize("maximum", MODES)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_short_floats_are_calculated_in_float32(
    maximum: bool, dtype: torch.dtype, atol: float
) -> None:
    scene = many(dtype)
    exact = replace(scene, features=scene.features.float(), rois=scene.rois.float())
    output, places = align(scene, True, maximum)
    expected, exact_places = align(exact, True, maximum)
    assert output.dtype is dtype and torch.equal(output, expected.to(dtype))
    weights = torch.ones_like(output)
    gradient = align_gradient(scene, weights, places, True, maximum)
    assert gradient.dtype is dtype
    if not maximum:  # places on the map are rounded as well
        expected = align_gradient(exact, weights.float(), exact_places, True)
        assert torch.allclose(gradient.float(), expected, atol=atol, rtol=atol)


@pytest.mark.parametrize("maximum", MODES)
def test_nothing_in_nothing_out(maximum: bool) -> None:
    scene = ramp([[0, 0, 0, 4, 4]])
    for empty in (
        replace(scene, rois=torch.empty(0, 5)),
        replace(scene, features=torch.empty(1, 0, 6, 8)),
        replace(scene, features=torch.empty(1, 3, 0, 8)),
    ):
        output, places = align(empty, True, maximum)
        assert output.numel() == 0 or not output.any()
        assert not align_gradient(empty, torch.ones_like(output), places, True, maximum).any()


def test_off_the_map_is_0_and_has_no_gradient() -> None:
    scene = ramp([[0, -50, -50, -40, -40], [0, 100, 0, 110, 5], [0, 3, 3, 3, 3]])
    output, places = align(scene, True)
    assert not output.any()
    assert not align_gradient(scene, torch.ones_like(output), places, True).any()


@pytest.mark.parametrize("maximum", MODES)
def test_a_pixel_that_is_nan_stays_in_its_bins(maximum: bool) -> None:
    scene = ramp([[0, 0.5, 0.5, 4.5, 4.5]], bins_hw=(2, 2))
    scene.features[0, 0, 0, 0] = math.nan  # a sample of the first bin takes it with weight 1/4
    output, _ = align(scene, True, maximum)
    assert torch.isfinite(output.flatten()[1:]).all()
    assert torch.isnan(output[0, 0, 0, 0]) != maximum  # NaN is never the greatest


@pytest.mark.parametrize("maximum", MODES)
@pytest.mark.parametrize("size", [1e5, 1e9, 1e30])
@pytest.mark.parametrize("ratio", [0, 2, 100_000])
def test_an_absurd_box_takes_no_absurd_time(maximum: bool, size: float, ratio: int) -> None:
    if maximum and ratio > 2:
        pytest.skip("the maximum of 10^10 samples in each bin is what was asked for")
    scene = ramp([[0, -size, -size, size, size], [0, 0, 0, size, size]], (3, 3), ratio)
    align(ramp([[0, 0, 0, 1, 1]]), True, maximum)  # compiles
    start = time.perf_counter()
    output, places = align(scene, True, maximum)
    align_gradient(scene, torch.ones_like(output), places, True, maximum)
    assert time.perf_counter() - start < 5
    assert torch.isfinite(output).all() and output.abs().max() <= 57


def test_a_box_far_greater_than_the_map_has_the_mean_of_all_samples() -> None:
    scene = ramp([[0, -2000, -2000, 2006, 2006]])
    scene = replace(scene, features=scene.features.double(), rois=scene.rois.double())
    output, _ = align(scene, True)
    # 4,006 samples on each axis, a pixel apart; each in -1 ... size takes the pixel that it meets.
    steps = torch.arange(4006.0, dtype=torch.float64) - 2000
    rows = steps[(steps >= -1) & (steps <= 6)].clamp(0, 5)
    cols = steps[(steps >= -1) & (steps <= 8)].clamp(0, 7)
    expected = (10 * rows[:, None] + cols[None]).sum() / 4006**2
    assert output.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        ([1, 0, 0, 4, 4], "RoI 1 is .*from 0 to 0"),
        ([-1, 0, 0, 4, 4], "RoI 1 is .*from 0 to 0"),
        ([math.nan, 0, 0, 4, 4], "RoI 1 is .*from 0 to 0"),
        ([0, math.nan, 0, 4, 4], "RoI 1 is .*finite"),
        ([0, 0, 0, math.inf, 4], "RoI 1 is .*finite"),
        ([0, 0, -3e38, 4, 3e38], "RoI 1 is .*finite"),
        ([0, 4, 0, 0, 4], "RoI 1 is .*x2 must not be less than x1"),
    ],
)
@pytest.mark.parametrize("maximum", MODES)
def test_a_region_that_is_none_is_named(maximum: bool, roi: list[float], message: str) -> None:
    scene = ramp([[0, 0, 0, 4, 4], roi])
    with pytest.raises(ValueError, match="roi_align_forward: " + message):
        align(scene, True, maximum)
    bins = torch.ones(2, 1, 1, 1)
    with pytest.raises(ValueError, match="roi_align_backward: " + message):
        align_gradient(scene, bins, [bins, bins], True, maximum)


def test_shapes_are_checked() -> None:
    scene = ramp([[0, 0, 0, 4, 4]])
    with pytest.raises(
        ValueError, match=r"grad_output has shape \(2, 1, 1, 1\), not \(1, 1, 1, 1\)"
    ):
        align_gradient(scene, torch.ones(2, 1, 1, 1), [torch.empty(0)] * 2, True)
    with pytest.raises(ValueError, match=r"not \(K, 5\)"):
        align(replace(scene, rois=torch.ones(1, 4)), True)


def test_gradients_that_are_not_contiguous() -> None:
    scene = many()
    weights: Any = torch.randn(60, 3, 4, 70).permute(0, 3, 1, 2)
    places = [torch.empty(0)] * 2
    expected = align_gradient(scene, weights.contiguous(), places, True)
    assert torch.equal(align_gradient(scene, weights, places, True), expected)
