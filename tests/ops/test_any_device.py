from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.ops import MaskedConv2d, carafe, carafe_naive, sigmoid_focal_loss, softmax_focal_loss
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from torch.nn.functional import conv2d

from cellseg_mmdet.ops.any_device import carafe as plain_carafe
from cellseg_mmdet.ops.cpu import carafe as cpu_carafe

pytestmark = pytest.mark.usefixtures("portable")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


# ---- focal loss ----


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)])
def test_sigmoid_focal_loss_is_the_papers(weight):
    logits, target = normal(5, 3).requires_grad_(), torch.tensor([0, 1, 2, 3, 3])  # 3: background
    positive = target[:, None] == torch.arange(3)
    p = logits.sigmoid()
    expected = torch.where(positive, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    if weight is not None:
        expected = expected * torch.cat([weight, weight.new_ones(1)])[target][:, None]
    loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "sum")
    torch.testing.assert_close(loss, expected.sum())
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, target, 2.0, 0.25, weight, "sum"), [logits]
    )


def test_softmax_focal_loss_is_the_papers_and_leaves_out_negative_targets():
    logits, target = normal(4, 3).requires_grad_(), torch.tensor([0, 2, 1, -1])
    p = logits.softmax(1)[torch.arange(3), target[:3]]
    expected = (-0.25 * (1 - p) ** 2 * p.log()).sum()
    loss = softmax_focal_loss(logits, target, 2.0, 0.25, None, "sum")
    torch.testing.assert_close(loss, expected)
    loss.backward()
    (slopes,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(logits.grad, slopes)


def test_certain_predictions_have_finite_losses():
    logits = torch.tensor([[1e3], [-1e3]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1, 0]), 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


# ---- CARAFE ----


def upsampled(features, masks, kernel, groups, scale):
    """Do CARAFE pixel by pixel."""
    batch, channels, height, width = features.shape
    output = features.new_zeros(batch, channels, height * scale, width * scale)
    reach = kernel // 2
    for y in range(height * scale):
        for x in range(width * scale):
            for i in range(kernel):
                for j in range(kernel):
                    row, column = y // scale + i - reach, x // scale + j - reach
                    if not (0 <= row < height and 0 <= column < width):
                        continue
                    for group in range(groups):
                        part = slice(*(channels // groups * g for g in (group, group + 1)))
                        weight = masks[:, group * kernel**2 + i * kernel + j, y, x]
                        output[:, part, y, x] += weight[:, None] * features[:, part, row, column]
    return output


@pytest.mark.parametrize("module", [plain_carafe, cpu_carafe])
@pytest.mark.parametrize(("kernel", "groups", "scale"), [(1, 1, 2), (3, 2, 2), (5, 1, 1)])
def test_carafe_in_torch_and_in_numba(module, kernel, groups, scale, threads):
    features = normal(2, 4, 3, 5)
    masks = normal(2, groups * kernel**2, 3 * scale, 5 * scale, seed=1)
    output = torch.full((2, 4, 3 * scale, 5 * scale), 7.0, dtype=torch.float64)
    module.carafe_naive_forward(features, masks, output, kernel, groups, scale)
    torch.testing.assert_close(output, upsampled(features, masks, kernel, groups, scale))


@pytest.mark.parametrize(("kernel", "groups", "scale"), [(1, 1, 2), (3, 2, 2), (5, 1, 1)])
def test_carafe_is_a_kernel_of_its_own_for_each_pixel(kernel, groups, scale):
    features = normal(2, 4, 3, 5)
    masks = normal(2, groups * kernel**2, 3 * scale, 5 * scale, seed=1)
    expected = upsampled(features, masks, kernel, groups, scale)
    for function in (carafe, carafe_naive):
        torch.testing.assert_close(function(features, masks, kernel, groups, scale), expected)


@pytest.mark.parametrize("module", [plain_carafe, cpu_carafe])
def test_gradients_of_carafe_are_the_slopes(module):
    features, masks = normal(1, 2, 3, 2).requires_grad_(), normal(1, 18, 6, 4).requires_grad_()
    output = upsampled(features, masks, 3, 2, 2)
    gradient = normal(*output.shape, seed=2)
    expected = torch.autograd.grad(output, [features, masks], gradient)
    ours = torch.zeros_like(features), torch.zeros_like(masks)
    module.carafe_naive_backward(gradient, features.detach(), masks.detach(), *ours, 3, 2, 2)
    for value, slope in zip(ours, expected, strict=True):
        torch.testing.assert_close(value, slope)


# ---- masked convolution ----


@given(st.lists(st.booleans(), min_size=20, max_size=20))
def test_masked_convolution_is_a_convolution_where_the_mask_is(flags):
    from tests.ops.stand_ins import use_portable

    with pytest.MonkeyPatch.context() as monkeypatch:
        use_portable(monkeypatch)
        layer = MaskedConv2d(3, 2, 3, padding=1).eval()
        features, mask = torch.rand(1, 3, 4, 5), torch.tensor(flags).view(1, 4, 5).float()
        expected = conv2d(features, layer.weight, layer.bias, padding=1) * mask
        torch.testing.assert_close(layer(features, mask), expected)


# ---- deformable attention ----


def test_deformable_attention_is_mmcvs_own_in_torch():
    shapes = torch.tensor([[4, 5], [2, 3]])
    starts = torch.tensor([0, 20])
    value, places = normal(2, 26, 2, 3), normal(2, 7, 2, 2, 4, 2, seed=1).sigmoid() * 1.4 - 0.2
    weights = normal(2, 7, 2, 2, 4, seed=2).flatten(-2).softmax(-1).view(2, 7, 2, 2, 4)
    ours = [tensor.clone().requires_grad_() for tensor in (value, places, weights)]
    theirs = [tensor.clone().requires_grad_() for tensor in (value, places, weights)]
    output = MultiScaleDeformableAttnFunction.apply(ours[0], shapes, starts, ours[1], ours[2], 64)
    expected = multi_scale_deformable_attn_pytorch(theirs[0], shapes, theirs[1], theirs[2])
    torch.testing.assert_close(output, expected)
    gradient = normal(*output.shape, seed=3)
    output.backward(gradient)
    expected.backward(gradient)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad)
