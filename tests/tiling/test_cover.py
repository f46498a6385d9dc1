"""Every pixel is owned once, tiles begin on the stride, and see as far as they have to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.tiling import Cover, Rect, Tile


@st.composite
def covers(draw: st.DrawFn) -> Cover:
    stride = draw(st.sampled_from([1, 2, 8, 32]))
    tiles = draw(st.integers(1, 5))
    context = draw(st.one_of(st.integers(0, 70), st.tuples(st.integers(0, 70), st.integers(0, 70))))
    offset_yx = tuple(stride * draw(st.integers(0, tiles - 1)) for _ in range(2))
    size = st.integers(1, 150)
    return Cover(draw(size), draw(size), stride * tiles, context, stride, offset_yx)


@given(covers())
def test_every_pixel_is_owned_once(cover: Cover) -> None:
    owners = np.zeros((cover.height, cover.width), dtype=int)
    tiles = list(cover)
    for tile in tiles:
        owners[tile.core.rows, tile.core.columns] += 1
        assert tile.core.height > 0
        assert tile.core.width > 0
    assert (owners == 1).all()
    assert len(tiles) == len(cover)


@given(covers())
def test_reads_lie_on_the_stride_and_hold_core_and_context(cover: Cover) -> None:
    before, behind = (cover.context,) * 2 if isinstance(cover.context, int) else cover.context
    for core, read in cover:
        assert all(side % cover.stride == 0 for side in read)
        for axis, padded in enumerate(cover.padded_hw):
            assert 0 <= read[axis] <= max(core[axis] - before, 0)
            assert min(core[axis + 2] + behind, padded) <= read[axis + 2] <= padded
            # No further than it has to, on the stride.
            assert read[axis] > core[axis] - before - cover.stride
            assert read[axis + 2] < core[axis + 2] + behind + 2 * cover.stride


def test_a_tile_as_large_as_the_picture_is_the_picture() -> None:
    assert list(Cover(50, 70, tile=96, context=40, stride=32)) == [
        Tile(Rect(0, 0, 50, 70), Rect(0, 0, 64, 96))
    ]


def test_cost() -> None:
    # 4 tiles of 64 with 32 on the two inner sides each.
    cover = Cover(128, 128, tile=64, context=32, stride=32)
    assert cover.shape == (2, 2)
    assert cover.read_pixels == 4 * 96 * 96


def test_offset_moves_the_seams() -> None:
    cover = Cover(16, 40, tile=16, context=0, stride=8, offset_yx=(0, 8))
    assert [(tile.core.x0, tile.core.x1) for tile in cover] == [(0, 8), (8, 24), (24, 40)]


def test_points_of_a_stride() -> None:
    # Points at 0, 4 and 8 lie in pixels 0 to 9; the cores of a cover share them out.
    cover = Cover(10, 40, tile=8, context=0, stride=8)
    points = [tile.core.divided(4) for tile in cover]
    assert points[0] == Rect(0, 0, 2, 2)
    assert points[-1] == Rect(2, 8, 3, 10)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (dict(height=0), "0 x 9 pixels has no tiles"),
        (dict(tile=20), "tile=20: must be a multiple of the network's stride, 8"),
        (dict(tile=0), "tile=0"),
        (dict(stride=0), "stride=0: must be at least 1"),
        (dict(context=(0, -1)), "must be at least 0"),
        (dict(offset_yx=(0, 4)), "multiples of the stride 8 below the tile 16"),
        (dict(offset_yx=(16, 0)), "multiples of the stride 8 below the tile 16"),
    ],
)
def test_numbers_out_of_range(arguments: dict, told: str) -> None:
    right = dict(height=9, width=9, tile=16, context=3, stride=8)
    with pytest.raises(ConfigError, match=told):
        Cover(**{**right, **arguments})
