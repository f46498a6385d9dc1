"""Backbone and neck of a detector, in one piece or taken apart: the feature maps of the whole picture, tile by tile.

In one piece each tile computes the dear first stages of all that the deep ones look at. Taken apart, each stage has
tiles and context of its own, at the price of keeping what the stages give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.maps import WholeMaps, map_bytes
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.parts import stages_of
from cellseg_mmdet.tiling.scratch import Scratch

_PICTURE = 0


@dataclass(frozen=True)
class Piece:
    """A part of the network, and what it sees.

    Attributes:
        part: of the network.
        inputs: numbers of what it sees: 0 is the picture, i is what piece i gives, from 1 on.
    """

    part: NetworkPart
    inputs: tuple[int, ...]


class Pieces:
    """Pieces of a network, each of which sees earlier ones or the picture; the last one gives the features.

    Args:
        pieces: in the order in which they run.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)

    @property
    def features(self) -> NetworkPart:
        """The last piece."""
        return self.pieces[-1].part

    @property
    def context(self) -> tuple[int, int]:
        """The most pixels before and behind a tile that are read with it."""
        before, behind = zip(*(piece.part.reach.context for piece in self.pieces), strict=True)
        return max(before), max(behind)

    @property
    def passes(self) -> int:
        """The most often that a piece goes through a picture of several tiles."""
        return max(piece.part.passes for piece in self.pieces)

    def largest_tile(self, budget_bytes: float) -> int:
        """Return the side of the largest tile that the dearest piece has memory for; below 1 if for none."""
        return _largest_core(self._dearest, budget_bytes)

    def tiles(self, tile: int) -> list[int]:
        """Return the side of each piece's tiles: ``tile`` of the dearest one; the others take as much memory."""
        if len(self.pieces) == 1:
            return [tile]
        part = self._dearest
        side = max(1, tile // part.reach.stride) * part.reach.stride
        budget = part.bytes_per_px * (side + _context(part)) ** 2
        return [
            max(piece.part.reach.stride, side, _largest_core(piece.part, budget))
            for piece in self.pieces
        ]

    def times(self, tile: int, size_hw: tuple[int, int] | None = None) -> float:
        """Return the work on tiles by that on the whole picture.

        Args:
            tile: side in pixels.
            size_hw: height and width of the picture, padding included; None for one without end.
        """
        whole = work = 0.0
        for piece, side in zip(self.pieces, self.tiles(tile), strict=True):
            once, in_tiles = piece.part.work_per_px
            whole += once
            if size_hw is None:
                stride = piece.part.reach.stride
                core = max(1, side // stride) * stride
                work += in_tiles * ((core + _context(piece.part)) / core) ** 2
            else:
                cover = piece.part.cover(size_hw, side)
                share = cover.read_pixels / math.prod(size_hw)
                work += (in_tiles if len(cover) > 1 else once) * share
        return work / whole if whole else 1.0

    def map_bytes(self, size_hw: tuple[int, int]) -> int:
        """Return what the maps of all pieces take, in memory or in files."""
        return sum(
            map_bytes(
                piece.part.reach.channels, piece.part.reach.strides, size_hw, piece.part.dtype
            )
            for piece in self.pieces
        )

    def maps(
        self,
        size_hw: tuple[int, int],
        tile: int,
        read: Callable[[Rect], list[Tensor]],
        scratch: Scratch,
        device: torch.device | str,
        description: str,
    ) -> WholeMaps:
        """Return the features of a picture.

        Args:
            size_hw: its height and width, padding included.
            tile: side in pixels.
            read: gives windows of the picture.
            scratch: for the maps.
            device: where they lie.
            description: of the progress bar.
        """
        made: list[WholeMaps | None] = [None]
        for number, (piece, side) in enumerate(
            zip(self.pieces, self.tiles(tile), strict=True), start=1
        ):
            reach = piece.part.reach
            filled = WholeMaps(
                reach.channels,
                reach.strides,
                size_hw,
                scratch,
                device=device,
                dtype=piece.part.dtype,
            )
            label = description
            if len(self.pieces) > 1:
                label += f", {piece.part.name}"
            piece.part.work(size_hw, side, partial(_read, piece, made, read), filled.write, label)
            made.append(filled)
            needed = {of for later in self.pieces[number:] for of in later.inputs}
            for index, maps in enumerate(made[:-1]):
                if maps is not None and index not in needed:
                    maps.free()
                    made[index] = None
        last = made[-1]
        assert last is not None
        return last

    @property
    def _dearest(self) -> NetworkPart:
        return max((piece.part for piece in self.pieces), key=lambda part: part.bytes_per_px)


def in_one(model: Any, channels: int, divisor: int) -> Pieces:
    """Return backbone and neck as one piece; as two where the neck would have the backbone go through all again.

    Args:
        model: mmdet's detector, in eval mode.
        channels: of the picture.
        divisor: the picture ends at a multiple of this many pixels.

    Raises:
        NotTiled: the outputs in a tile are not those in the whole picture.
    """

    def features(inputs: list[Tensor]) -> list[Tensor]:
        return list(model.extract_feat(inputs[0]))

    whole = NetworkPart("network", model, features, [1], [channels], divisor=divisor)
    if not any(layer.name.startswith("neck.") for layer in whole.reach.layers):
        return Pieces([Piece(whole, (_PICTURE,))])
    backbone = NetworkPart(
        "backbone",
        model.backbone,
        lambda inputs: list(model.backbone(inputs[0])),
        [1],
        [channels],
        divisor=divisor,
    )
    reach = backbone.reach
    return Pieces(
        [
            Piece(backbone, (_PICTURE,)),
            Piece(_neck(model, reach.strides, reach.channels, divisor), (1,)),
        ]
    )


def in_stages(model: Any, channels: int, divisor: int) -> Pieces | None:
    """Return each stage of the backbone, and the neck; None if the backbone is no chain of stages.

    Args:
        model: mmdet's detector, in eval mode.
        channels: of the picture.
        divisor: the picture ends at a multiple of this many pixels.

    Raises:
        NotTiled: the outputs in a tile are not those in the whole picture.
    """
    stages = stages_of(model.backbone)
    if stages is None or not getattr(model, "with_neck", False):
        return None
    pieces: list[Piece] = []
    strides, depth = [1], [channels]
    for number, (name, stage) in enumerate(stages[: max(model.backbone.out_indices) + 1]):
        # A stage begins at its own stride, wherever the picture ends.
        part = NetworkPart(name, model, partial(_first, stage), strides[-1:], depth[-1:])
        pieces.append(Piece(part, (number,)))
        strides += part.reach.strides
        depth += part.reach.channels
    # Map i + 1 is that of stage i.
    seen = tuple(index + 1 for index in model.backbone.out_indices)
    neck = _neck(model, [strides[one] for one in seen], [depth[one] for one in seen], divisor)
    return Pieces([*pieces, Piece(neck, seen)])


def _neck(model: Any, strides: Sequence[int], channels: Sequence[int], divisor: int) -> NetworkPart:
    return NetworkPart(
        "neck",
        model.neck,
        lambda maps: list(model.neck(tuple(maps))),
        strides,
        channels,
        divisor=divisor,
    )


def _first(stage: nn.Module, maps: list[Tensor]) -> list[Tensor]:
    return [stage(maps[0])]


def _read(
    piece: Piece,
    made: Sequence[WholeMaps | None],
    read: Callable[[Rect], list[Tensor]],
    window: Rect,
) -> list[Tensor]:
    """Return the windows of all maps that a piece sees."""
    windows: list[Tensor] = []
    for index in piece.inputs:
        maps = made[index]
        windows += (read if maps is None else maps.read)(window)
    return [each.to(piece.part.dtype) for each in windows]


def _context(part: NetworkPart) -> int:
    """Return the pixels that a tile is read with, before and behind together."""
    stride = part.reach.stride
    return sum(-(-side // stride) * stride for side in part.reach.context)


def _largest_core(part: NetworkPart, budget_bytes: float) -> int:
    side = math.isqrt(int(budget_bytes / part.bytes_per_px)) - _context(part)
    return side // part.reach.stride * part.reach.stride
