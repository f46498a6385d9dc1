"""Layers that look at whole maps, gathered from tiles: a group norm, an instance norm, a channel attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.maps import WholeMaps
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.scratch import Scratch


def network(*layers: nn.Module) -> NetworkPart:
    torch.manual_seed(0)
    chain = nn.Sequential(*layers).double().eval()
    for parameter in chain.parameters():
        nn.init.normal_(parameter)
    return NetworkPart("chain", chain, lambda maps: [chain(maps[0])], [1], [2])


def in_tiles(part: NetworkPart, image: Tensor, tile: int) -> Tensor:
    size = (image.shape[2], image.shape[3])
    with Scratch(limit_bytes=0) as scratch:
        maps = WholeMaps(
            part.reach.channels, part.reach.strides, size, scratch, dtype=torch.float64
        )
        part.work(size, tile, lambda rect: [image[:, :, rect.rows, rect.columns]], maps.write)
        return maps.levels[0].clone()


def image_of(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 2, height, width, generator=generator, dtype=torch.float64) + 3


def attention(channels: int) -> nn.Module:
    # Behind the package, which brings mmcv's operators.
    from mmdet.models.layers import ChannelAttention

    return ChannelAttention(channels)


CHAINS = {
    "no such layer": ([nn.Conv2d(2, 4, 3, padding=1)], 1),
    "group norm": ([nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4)], 2),
    "instance norm": ([nn.Conv2d(2, 4, 3, padding=1), nn.InstanceNorm2d(4, affine=True)], 2),
    "attention": ([nn.Conv2d(2, 4, 3, padding=1), attention(4)], 2),
    "one behind the other, over two strides": (
        [
            nn.GroupNorm(1, 2),
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.GroupNorm(2, 4),
            nn.ReLU(),
            attention(4),
        ],
        4,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_tiles_give_what_the_whole_gives(name: str) -> None:
    layers, passes = CHAINS[name]
    part = network(*layers)
    image = image_of(20, 30)
    with torch.inference_mode():
        whole = part._run([image])[0]
        for tile in (6, 8, 30):
            assert torch.allclose(in_tiles(part, image, tile), whole, rtol=0, atol=1e-10)
    assert part.passes == passes


def test_a_tile_by_itself_gives_something_else() -> None:
    part = network(nn.GroupNorm(1, 2))
    image = image_of(8, 8)
    image[..., 4:] += 5
    with torch.inference_mode():
        whole, half = part._run([image])[0], part._run([image[..., :4]])[0]
    assert (whole[..., :4] - half).abs().max() > 0.1


def test_what_is_no_number_is_an_error() -> None:
    part = network(nn.GroupNorm(1, 2))
    image = image_of(8, 8)
    image[0, 0, 7, 7] = torch.nan
    with torch.inference_mode(), pytest.raises(DataError, match=r"0: .* not numbers"):
        in_tiles(part, image, 4)


def test_maps_in_a_file_are_those_in_memory() -> None:
    window = Rect(4, 8, 12, 16)
    values = [torch.rand(1, 3, 2, 2), torch.rand(1, 1, 1, 1)]
    whole = Rect(0, 0, 18, 20)
    read = []
    for limit_bytes in (0, 1 << 20):
        with Scratch(limit_bytes) as scratch:
            maps = WholeMaps([3, 1], [4, 8], (18, 20), scratch)
            assert maps.in_file == (limit_bytes == 0)
            maps.write(window, values)
            read.append(maps.read(whole))
            assert torch.equal(maps.read(window)[0], values[0])
            maps.free()
        assert maps.levels == ()
    assert all(torch.equal(one, other) for one, other in zip(*read, strict=True))
    assert [tuple(each.shape) for each in read[0]] == [(1, 3, 5, 5), (1, 1, 3, 3)]
