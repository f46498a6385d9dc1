from __future__ import annotations

import pytest
import torch
from mmcv.ops import DeformRoIPool, RoIPool, deform_roi_pool, roi_align, roi_pool

pytestmark = pytest.mark.usefixtures("portable", "threads")


def picture(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_bins_hold_their_largest_pixel():
    pixels = torch.arange(36.0).view(1, 1, 6, 6)
    # Pixels 0 to 3 of each axis, in two bins of two.
    assert RoIPool(2)(pixels, torch.tensor([[0.0, 0, 0, 3, 3]])).tolist() == [[[[7, 9], [19, 21]]]]


def test_a_bin_outside_is_zero_and_gives_no_gradient():
    pixels = picture(1, 2, 4, 4).requires_grad_()
    pooled = roi_pool(pixels, torch.tensor([[0.0, 10, 10, 14, 14], [0, 3, 3, 1, 1]]), 2)
    pooled.sum().backward()
    assert not pooled.any()
    assert not pixels.grad.any()


def test_maxima_have_the_slopes_of_their_pixels():
    pixels = picture(2, 2, 6, 5).requires_grad_()
    rois = torch.tensor([[1, 0.3, 0.2, 4.1, 5.6], [0, -3, -3, 9, 9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, rois, 2, 0.5), [pixels])


def test_negative_pixels_have_a_maximum_too():
    assert (roi_pool(-torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]), 2) == -1).all()


@pytest.mark.parametrize("ratio", [0, 2])
def test_without_shifts_deformable_pooling_is_roi_align(ratio):
    pixels = picture(2, 3, 9, 8)
    rois = torch.tensor([[1, 0.3, 0.2, 4.1, 5.6], [0, -3, -3, 9, 9]], dtype=torch.float64)
    expected = roi_align(pixels, rois, 3, 0.5, ratio)
    torch.testing.assert_close(deform_roi_pool(pixels, rois, None, 3, 0.5, ratio), expected)
    zero = pixels.new_zeros(2, 2, 3, 3)
    torch.testing.assert_close(DeformRoIPool(3, 0.5, ratio)(pixels, rois, zero), expected)


def test_a_shift_moves_a_bin_by_its_share_of_the_roi():
    ramp = torch.arange(20.0).expand(1, 1, 20, 20).contiguous()
    rois = torch.tensor([[0.0, 4, 4, 8, 8]])
    shifts = torch.zeros(1, 2, 2, 2)
    shifts[0, 0, 0, 1] = 5  # along x, of the upper right bin: 5 x gamma 0.1 x 4 pixels
    pooled = deform_roi_pool(ramp, rois, shifts, 2, 1.0, 2)
    torch.testing.assert_close(pooled[0, 0], torch.tensor([[4.5, 8.5], [4.5, 6.5]]))


def test_gradients_of_pixels_and_shifts_are_the_slopes():
    pixels = picture(2, 2, 7, 6).requires_grad_()
    rois = torch.tensor([[1, 0.3, 0.2, 4.1, 5.6], [0, 1, 1, 4, 3]], dtype=torch.float64)
    shifts = (0.3 * picture(2, 2, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, o: deform_roi_pool(x, rois, o, 2, 1.0, 2, 0.5), [pixels, shifts]
    )


@pytest.mark.parametrize("function", [roi_pool, lambda x, r, n: deform_roi_pool(x, r, None, n)])
def test_no_roi_and_rois_that_cannot_be(function):
    assert function(torch.rand(1, 3, 8, 8), torch.zeros(0, 5), 2).shape == (0, 3, 2, 2)
    with pytest.raises(ValueError, match="RoI 0 is of image 1"):
        function(torch.rand(1, 3, 8, 8), torch.tensor([[1.0, 0, 0, 1, 1]]), 2)
    with pytest.raises(ValueError, match="has to be finite"):
        function(torch.rand(1, 3, 8, 8), torch.tensor([[0, 0, float("inf"), 1, 1]]), 2)
