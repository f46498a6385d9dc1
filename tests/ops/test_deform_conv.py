from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, grid_sample

from cellseg_mmdet.ops.cpu import deform_conv
from tests.ops.deformed import CASES, Case, convolve, draw, gradients_of

pytestmark = pytest.mark.usefixtures("portable")


def by_grid_sample(inputs: dict[str, torch.Tensor], case: Case) -> torch.Tensor:
    """Do the convolution by torch's own sampling, of which autograd knows the gradients."""
    data, weight = inputs["input"], inputs["weight"]
    height, width = case.size_hw
    rows, columns = case.output_hw()
    groups, places = case.offset_groups, case.kernel**2
    shifts = inputs["offset"].view(case.batch, groups, places, 2, rows, columns)
    mask = inputs.get("mask", data.new_ones(1)).expand(case.batch, groups * places, rows, columns)
    steps = torch.arange(case.kernel) * case.dilation - case.padding
    samples = []
    for group in range(groups):
        channels = data.chunk(groups, dim=1)[group]
        for place in range(places):
            y = torch.arange(rows)[:, None] * case.stride + steps[place // case.kernel]
            x = torch.arange(columns) * case.stride + steps[place % case.kernel]
            at_y, at_x = y + shifts[:, group, place, 0], x + shifts[:, group, place, 1]
            # Between -1 and 1 from the middle of the first pixel to that of the last; a margin makes room for 1 pixel.
            bordered = torch.nn.functional.pad(channels, [1] * 4)
            grid = torch.stack(
                [2 * (at_x + 1) / (width + 1) - 1, 2 * (at_y + 1) / (height + 1) - 1], -1
            )
            taken = grid_sample(bordered, grid, align_corners=True, padding_mode="zeros")
            inside = (at_y > -1) & (at_y < height) & (at_x > -1) & (at_x < width)
            factor = mask[:, group * places + place] * inside
            samples.append(taken * factor[:, None])
    per_group = case.channels // groups
    stacked = torch.stack(samples).view(groups, places, case.batch, per_group, rows, columns)
    unfolded = stacked.permute(2, 0, 3, 1, 4, 5).reshape(
        case.batch, case.groups, -1, rows * columns
    )
    kernels = weight.reshape(case.groups, case.outputs // case.groups, -1)
    output = torch.einsum("gok,bgkp->bgop", kernels, unfolded)
    output = output.reshape(case.batch, case.outputs, rows, columns)
    return output + inputs["bias"].view(1, -1, 1, 1) if "bias" in inputs else output


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_grid_sample(case, masked, threads):
    inputs = draw(case, masked, torch.float64)
    ours = gradients_of(inputs, case)
    for value, expected in zip(ours, gradients_of(inputs, case, by_grid_sample), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_gradients_are_the_slopes(masked):
    case = Case(batch=1, channels=2, outputs=2, size_hw=(4, 5))
    inputs = draw(case, masked, torch.float64)
    names = list(inputs)

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        return convolve(dict(zip(names, tensors, strict=True)), case)

    assert torch.autograd.gradcheck(function, [inputs[name].requires_grad_() for name in names])


def test_without_shifts_it_is_a_convolution():
    case = Case(stride=2, dilation=2, padding=2, groups=2)
    inputs = draw(case, False, torch.float32)
    inputs["offset"].zero_()
    expected = conv2d(inputs["input"], inputs["weight"], None, 2, 2, 2, 2)
    torch.testing.assert_close(convolve(inputs, case), expected)


def test_a_shift_of_whole_pixels_moves_the_picture():
    case = Case(batch=1, channels=1, outputs=1, kernel=1, padding=0)
    inputs = draw(case, False, torch.float32)
    inputs["weight"].fill_(1)
    inputs["offset"][:, 0], inputs["offset"][:, 1] = 2, -1
    expected = torch.zeros(1, 1, 9, 7)
    expected[..., :-2, 1:] = inputs["input"][..., 2:, :-1]
    torch.testing.assert_close(convolve(inputs, case), expected)


@pytest.mark.parametrize("corner", [0, -1])
def test_infinity_stays_where_it_is(corner):
    case = Case(batch=1, padding=2, dilation=2)
    inputs = draw(case, False, torch.float64)
    inputs["input"][:, :, corner, corner] = float("inf")
    near = gradients_of(inputs, case)[0].isfinite()
    marked = torch.zeros(1, 4, 9, 7, dtype=torch.float64)
    marked[:, :, corner, corner] = 1
    touched = convolve({**inputs, "input": marked, "weight": inputs["weight"].abs()}, case) > 0
    assert torch.equal(near, ~touched)


def test_an_infinite_gradient_stays_where_it_is():
    case = Case(batch=1)
    inputs = draw(case, False, torch.float64)
    inputs["offset"].fill_(0.5)
    data = inputs["input"].requires_grad_()
    output = convolve(inputs, case)
    gradient = torch.zeros_like(output)
    gradient[..., -1, -1] = float("inf")
    output.backward(gradient)
    assert not data.grad[..., 0, 0].any()


def test_shifts_that_are_not_numbers_sample_nothing():
    case = Case(batch=1)
    inputs = draw(case, False, torch.float32)
    inputs["offset"].fill_(float("nan"))
    assert not gradients_of(inputs, case)[0].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_calculated_in_single(dtype):
    case = Case()
    inputs = {name: tensor.to(dtype) for name, tensor in draw(case, True, torch.float32).items()}
    exact = {name: tensor.float() for name, tensor in inputs.items()}
    assert torch.equal(convolve(inputs, case), convolve(exact, case).to(dtype))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": (2, 16, 9, 7)}, r"offset has shape \(2, 16, 9, 7\), needed is \(2, 18, 9, 7\)"),
        ({"input": (2, 3, 9, 7)}, "input has 3 channels, the weights need 4 x 1 groups"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, words):
    case = Case()
    inputs = draw(case, False, torch.float32)
    for name, shape in change.items():
        inputs[name] = torch.zeros(shape)
    geometry = {"kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1}
    geometry |= {"dilationW": 1, "dilationH": 1, "group": 1, "deformable_group": 1}
    empty = torch.zeros(0)
    with pytest.raises(ValueError, match=words):
        deform_conv.deform_conv_forward(
            inputs["input"],
            inputs["weight"],
            inputs["offset"],
            torch.zeros(2, 6, 9, 7),
            empty,
            empty,
            **geometry,
            im2col_step=2,
        )
