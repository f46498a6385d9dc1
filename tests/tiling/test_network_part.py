"""How far parts of networks look, and which cannot be cut into tiles."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.receptive_field import receptive_fields


def part_of(*layers: nn.Module, divisor: int = 1) -> NetworkPart:
    chain = nn.Sequential(*layers).eval()
    return NetworkPart("chain", chain, lambda maps: [chain(maps[0])], [1], [1], divisor=divisor)


def test_one_convolution() -> None:
    reach = part_of(nn.Conv2d(1, 3, 5, padding=2)).reach
    assert (reach.stride, reach.strides, reach.channels) == (1, (1,), (3,))
    assert reach.context == (2, 2)


def test_strides_multiply_and_reaches_add() -> None:
    halve = [nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(3)]
    reach = part_of(*halve).reach
    assert (reach.stride, reach.strides) == (8, (8,))
    assert reach.context == (8, 0)  # 1 + 2 + 4 pixels before, on the grid of stride 8; none behind


def test_agrees_with_the_field_that_is_derived_from_operators() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Conv2d(1, 2, 7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(2, 2, 3, padding=2, dilation=2),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2, 1, 3, padding=1),
    ).eval()
    reach = part_of(*chain).reach
    (field,) = receptive_fields(chain, torch.zeros(1, 1, 64, 64))
    assert (reach.stride, reach.strides[0]) == (field.total_stride, field.stride)
    # Measured for tiles that begin on the stride, in points of the output, which are 2 pixels apart.
    for measured, derived in zip(reach.context, field.context, strict=True):
        assert derived - reach.stride < measured < derived + 2


class Mixed(nn.Module):
    """Adds to each pixel the mean of all."""

    def forward(self, values: Tensor) -> Tensor:
        return values + values.mean(dim=(2, 3), keepdim=True)


class Windows(nn.Module):
    """Means of windows of 3 x 3 pixels, counted from the top left: tiles would have to begin at multiples of 3."""

    def forward(self, values: Tensor) -> Tensor:
        height, width = values.shape[2:]
        padded = F.pad(values, (0, -width % 3, 0, -height % 3))
        means = F.avg_pool2d(padded, 3)
        return F.interpolate(means, scale_factor=3)[..., :height, :width]


def test_a_layer_that_sees_all_is_named() -> None:
    with pytest.raises(NotTiled, match=r"1\.0 \(Mixed\) looks at the whole picture"):
        part_of(nn.Conv2d(1, 1, 3, padding=1), nn.Sequential(Mixed()))


def test_windows_on_another_grid_are_found() -> None:
    with pytest.raises(NotTiled, match="depends on where the window begins"):
        part_of(Windows())


def test_a_picture_has_to_end_on_the_stride_where_maps_are_enlarged_to_its_size() -> None:
    class Enlarged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.halve = nn.Conv2d(1, 1, 3, stride=2, padding=1)

        def forward(self, values: Tensor) -> Tensor:
            return F.interpolate(self.halve(values), size=values.shape[2:], mode="bilinear")

    part = part_of(Enlarged())
    assert not part.ends_anywhere
    with pytest.raises(NotTiled, match="set pad_size_divisor to 2"):
        part.work((9, 8), 4, lambda rect: [], lambda core, outputs: None)
    assert part_of(nn.Conv2d(1, 1, 3, stride=2, padding=1)).ends_anywhere


def test_tiles_on_a_picture_that_ends_anywhere() -> None:
    torch.manual_seed(0)
    halve = nn.Conv2d(1, 1, 3, stride=2, padding=1).eval()
    part = part_of(halve, nn.MaxPool2d(3, stride=2, padding=1))
    image = torch.rand(1, 1, 21, 31)
    whole = part._run([image])[0]
    found = torch.zeros_like(whole)

    def write(core: Rect, outputs: list[Tensor]) -> None:
        own = core.divided(4)
        found[:, :, own.rows, own.columns] = outputs[0]

    part.work((21, 31), 8, lambda rect: [image[:, :, rect.rows, rect.columns]], write)
    assert torch.allclose(found, whole, rtol=0, atol=1e-6)
