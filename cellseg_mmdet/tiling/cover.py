"""`Cover`: a picture cut into tiles that own it, each with the context that a network needs around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from cellseg_mmdet.errors import ConfigError


class Rect(NamedTuple):
    """Rows ``y0`` to ``y1`` and columns ``x0`` to ``x1``, the ends not included, in pixels of the picture."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def rows(self) -> slice:
        """Of the picture."""
        return slice(self.y0, self.y1)

    @property
    def columns(self) -> slice:
        """Of the picture."""
        return slice(self.x0, self.x1)

    def within(self, outer: Rect) -> Rect:
        """Return this rectangle in the coordinates of another one.

        Example:
            >>> Rect(10, 20, 14, 24).within(Rect(8, 16, 32, 32))
            Rect(y0=2, x0=4, y1=6, x1=8)
        """
        return Rect(self.y0 - outer.y0, self.x0 - outer.x0, self.y1 - outer.y0, self.x1 - outer.x0)

    def divided(self, stride: int) -> Rect:
        """Return the rectangle on a grid of one point every ``stride`` pixels: the points at its pixels.

        Example:
            >>> Rect(0, 8, 10, 16).divided(4)
            Rect(y0=0, x0=2, y1=3, x1=4)
        """
        return Rect(*(-(-side // stride) for side in self))


class Tile(NamedTuple):
    """One tile of a cover.

    Attributes:
        core: what it owns; the cores of a cover are disjoint, and together the picture.
        read: what the network has to see; its begin lies on the stride, and so does its end. It is cut at the border of
            the picture, rounded up to the stride: what lies beyond the picture is padding, as it is for the whole.
    """

    core: Rect
    read: Rect


@dataclass(frozen=True)
class Cover:
    """The tiles of a picture, row by row.

    A tile's result in its core equals that of the whole picture if ``stride`` is a multiple of the network's total
    stride and ``context`` is no less than its receptive field: the tile begins where the network's grids have a point,
    and no pixel of the core depends on one that the tile lacks. At the border of the picture a tile ends where the
    picture does, so that the network pads there as it does with the whole, and nowhere else.

    Args:
        height: of the picture in pixels.
        width: of the picture in pixels.
        tile: side of a core in pixels, a multiple of ``stride``; those at the end may be smaller.
        context: pixels that the network looks at beyond a pixel, on all sides; or before it (above, to the left) and
            behind it (below, to the right).
        stride: in pixels.
        offset_yx: where the second row and the second column of tiles begin, multiples of ``stride`` less than
            ``tile``; 0 for ``tile``.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> cover = Cover(40, 100, tile=64, context=10, stride=8)
        >>> [tile.core for tile in cover]
        [Rect(y0=0, x0=0, y1=40, x1=64), Rect(y0=0, x0=64, y1=40, x1=100)]
        >>> [tile.read for tile in cover]
        [Rect(y0=0, x0=0, y1=40, x1=80), Rect(y0=0, x0=48, y1=40, x1=104)]
    """

    height: int
    width: int
    tile: int
    context: int | tuple[int, int]
    stride: int = 1
    offset_yx: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ConfigError(f"a picture of {self.height} x {self.width} pixels has no tiles")
        if self.stride < 1:
            raise ConfigError(f"stride={self.stride}: must be at least 1")
        if self.tile < 1 or self.tile % self.stride:
            raise ConfigError(
                f"tile={self.tile}: must be a multiple of the network's stride, {self.stride}"
            )
        if min(self._context) < 0:
            raise ConfigError(f"context={self.context}: must be at least 0")
        for offset in self.offset_yx:
            if not 0 <= offset < self.tile or offset % self.stride:
                raise ConfigError(
                    f"offset_yx={self.offset_yx}: multiples of the stride {self.stride} below the tile {self.tile}"
                )

    @property
    def _context(self) -> tuple[int, int]:
        return (self.context,) * 2 if isinstance(self.context, int) else self.context

    @property
    def padded_hw(self) -> tuple[int, int]:
        """Height and width of the picture, rounded up to the stride."""
        return _up(self.height, self.stride), _up(self.width, self.stride)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return len(self._sides(0)), len(self._sides(1))

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[Tile]:
        columns = self._sides(1)
        for (y0, y1), (read_y0, read_y1) in self._sides(0):
            for (x0, x1), (read_x0, read_x1) in columns:
                yield Tile(Rect(y0, x0, y1, x1), Rect(read_y0, read_x0, read_y1, read_x1))

    @property
    def read_pixels(self) -> int:
        """Pixels that the network sees in all tiles; by those of the padded picture it is the cost of tiling."""
        return sum(tile.read.height * tile.read.width for tile in self)

    def _sides(self, axis: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return begin and end of core and read, tile by tile along an axis."""
        length = (self.height, self.width)[axis]
        padded = self.padded_hw[axis]
        before, behind = (_up(side, self.stride) for side in self._context)
        offset = self.offset_yx[axis]
        begins = [0, *range(offset or self.tile, length, self.tile)]
        ends = [*begins[1:], length]
        return [
            (
                (begin, end),
                (max(0, begin - before), min(padded, _up(end, self.stride) + behind)),
            )
            for begin, end in zip(begins, ends, strict=True)
        ]


def _up(value: int, stride: int) -> int:
    return -(-value // stride) * stride
