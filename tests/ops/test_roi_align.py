from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import RoIAlign, roi_align

pytestmark = pytest.mark.usefixtures("portable")


@pytest.fixture(autouse=True, scope="module")
def portable():
    # For hypothesis, which makes no new fixture for each example.
    from tests.ops.stand_ins import use_portable

    with pytest.MonkeyPatch.context() as monkeypatch:
        use_portable(monkeypatch)
        yield


def bilinear(plane: torch.Tensor, y: float, x: float) -> torch.Tensor:
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.new_zeros(())
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    above = (1 - across) * plane[top, left] + across * plane[top, right]
    below = (1 - across) * plane[bottom, left] + across * plane[bottom, right]
    return (1 - down) * above + down * below


def reference(pixels, rois, size_hw, scale, ratio, mode, aligned):
    """Do RoIAlign sample by sample, as the paper says."""
    rows = []
    for roi in rois.tolist():
        image, shift = pixels[int(roi[0])], 0.5 if aligned else 0
        left, top, right, bottom = (scale * value - shift for value in roi[1:])
        sides = (bottom - top, right - left)
        if not aligned:
            sides = tuple(max(side, 1) for side in sides)
        bins = [side / number for side, number in zip(sides, size_hw, strict=True)]
        samples = [ratio or math.ceil(length) for length in bins]
        for plane in image:
            for i in range(size_hw[0]):
                for j in range(size_hw[1]):
                    values = [
                        bilinear(
                            plane,
                            top + bins[0] * (i + (p + 0.5) / samples[0]),
                            left + bins[1] * (j + (q + 0.5) / samples[1]),
                        )
                        for p in range(samples[0])
                        for q in range(samples[1])
                    ]
                    if not values:  # mmcv's maximum begins at -10000
                        rows.append(pixels.new_tensor(0 if mode == "avg" else -10000))
                    elif mode == "avg":
                        rows.append(sum(values) / len(values))
                    else:
                        rows.append(torch.stack(values).max())
    return torch.stack(rows).view(len(rois), pixels.shape[1], *size_hw)


# Eighths, so that no sample lies on a border by rounding alone.
eighth = st.integers(-40, 160).map(lambda value: (value + 0.37) / 8)
roi = st.tuples(st.integers(0, 1), eighth, eighth, st.integers(0, 120), st.integers(0, 120)).map(
    lambda r: (r[0], r[1], r[2], r[1] + r[3] / 8, r[2] + r[4] / 8)
)


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(roi, min_size=1, max_size=3),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([1.0, 0.5]),
    st.integers(0, 3),
    st.sampled_from(["avg", "max"]),
    st.booleans(),
)
def test_it_is_the_papers(rois, size_hw, bins_hw, scale, ratio, mode, aligned):
    pixels = torch.randn(
        2, 2, *size_hw, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    rois = torch.tensor(rois, dtype=torch.float64)
    ours, theirs = pixels.clone().requires_grad_(), pixels.clone().requires_grad_()
    values = roi_align(ours, rois, bins_hw, scale, ratio, mode, aligned)
    expected = reference(theirs, rois, bins_hw, scale, ratio, mode, aligned)
    torch.testing.assert_close(values, expected)
    weights = torch.linspace(1, 2, values.numel(), dtype=torch.float64).view_as(values)
    values.backward(weights)
    if expected.requires_grad:
        expected.backward(weights)
        torch.testing.assert_close(ours.grad, theirs.grad)
    else:
        assert not ours.grad.any()


def test_a_ramp_gives_its_middle():
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    rois = torch.tensor([[0.0, 4, 4, 8, 8]])
    # Pixel i covers [i, i + 1]: the bins [4, 6] and [6, 8] have their middles at 5 and 7, half a pixel less as indices.
    assert roi_align(ramp, rois, 2)[0, 0].tolist() == [[4.5, 6.5], [4.5, 6.5]]


def test_gradients_are_the_slopes():
    pixels = torch.randn(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 0.3, 0.2, 4.1, 5.6], [0, -3, -3, 9, 9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, 3), [pixels])
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, 3, 1.0, 2, "max"), [pixels])


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_the_number_of_threads_changes_no_bit(channels):
    before = torch.get_num_threads()
    pixels = torch.randn(2, channels, 40, 50)
    corner = torch.rand(300, 2) * 40
    rois = torch.cat([torch.arange(300)[:, None] % 2, corner, corner + 20 * torch.rand(300, 2)], 1)
    results = []
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        leaf = pixels.clone().requires_grad_()
        values = roi_align(leaf, rois, 7)
        values.backward(values.detach())
        results.append((values.detach(), leaf.grad))
    torch.set_num_threads(before)
    for values, gradient in results[1:]:
        assert torch.equal(values, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_no_roi_gives_nothing():
    layer = RoIAlign(7)
    assert layer(torch.rand(1, 3, 8, 8), torch.zeros(0, 5)).shape == (0, 3, 7, 7)
    pixels = torch.rand(1, 3, 8, 8, requires_grad=True)
    layer(pixels, torch.zeros(0, 5)).sum().backward()
    assert not pixels.grad.any()


def test_an_absurdly_large_roi_costs_no_more_than_the_picture():
    pixels = torch.ones(1, 1, 8, 8)
    rois = torch.tensor([[0, -1e9, -1e9, 1e9, 1e9], [0, 1e9, 1e9, 2e9, 2e9]])
    values = roi_align(pixels, rois, 2)
    assert values.shape == (2, 1, 2, 2)
    assert values.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("rois", "words"),
    [
        ([[0, float("nan"), 0, 1, 1]], r"RoI 0 is \[0.0, nan"),
        ([[0, 0, 0, 1, 1], [0, 0, 0, float("inf"), 1]], "RoI 1 is .* has to be finite"),
        ([[0, 0, 0, 1, 1], [2, 0, 0, 1, 1]], "RoI 1 is of image 2, allowed are 0 to 1"),
        ([[-1, 0, 0, 1, 1]], "RoI 0 is of image -1"),
        ([[0, 5, 5, 4, 9]], "RoI 0 has a negative size"),
    ],
)
def test_rois_that_cannot_be_are_named(rois, words):
    with pytest.raises(ValueError, match=words):
        roi_align(torch.rand(2, 1, 4, 4), torch.tensor(rois, dtype=torch.float32), 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_half_precision_is_calculated_in_single(dtype, mode):
    pixels = torch.randn(1, 3, 9, 9, dtype=dtype)
    rois = torch.tensor([[0.0, 1, 1, 7, 6]], dtype=dtype)
    exact = roi_align(pixels.float(), rois.float(), 3, 1.0, 0, mode)
    assert torch.equal(roi_align(pixels, rois, 3, 1.0, 0, mode), exact.to(dtype))
