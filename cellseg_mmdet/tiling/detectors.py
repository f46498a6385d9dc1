"""Detectors worked on tile by tile, with the result of the whole picture.

In the first pass the feature maps are made tile by tile, each from a window with as much around it as the network
looks at; the dense head is run on them, and the best places of the whole picture go on. In the second pass the RoI
heads see the maps of the whole. Caps, suppression and order are mmdet's own, over the whole picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import RTMDet
from mmdet.models.detectors.two_stage import TwoStageDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tiling.budget import SHARE, free_bytes
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.pictures import NetworkPicture
from cellseg_mmdet.tiling.pieces import Pieces, in_one, in_stages
from cellseg_mmdet.tiling.rtmdet import RTMDetIns
from cellseg_mmdet.tiling.scratch import Scratch
from cellseg_mmdet.tiling.two_stage import TwoStage

# What is worked on together may take, where no budget is given.
_BYTES_AT_ONCE = 1 << 30
_TILE = 1024


# A network that tiles make do more work than this is taken apart, where that is less.
MOST_TIMES = 1.5


@dataclass(frozen=True)
class Cost:
    """What tiles cost.

    Attributes:
        tiles: how many there are, of the part of the network that takes most memory.
        context: the most pixels before and behind a tile that are read with it.
        passes: the most often that a part of the network goes through the picture: once, and once more for each of its
            layers that looks at whole maps and depends on another one.
        times: work of backbone and neck, by that on the whole picture.
        pieces: that the network is in.
        map_bytes: of the maps that are kept, in memory or in files.
    """

    tiles: int
    context: tuple[int, int]
    passes: int
    times: float
    pieces: int
    map_bytes: int


class TiledDetector:
    """Gives the instances that a detector of mmdet gives of the whole picture.

    The same instances in the same order, with the same scores and masks, as far as sums of floats that are taken in
    another order allow: scores agree within 1e-5.

    Args:
        model: mmdet's detector in eval mode.
        tile: side of the tiles in pixels, rounded down to the stride. Give either this or ``budget_bytes``.
        budget_bytes: what the network may take.
        in_stages: whether the stages of the backbone are tiled one by one; by default where the network in one piece
            would do more than `MOST_TIMES` the work of the whole picture, and there is room for what stages give.

    Attributes:
        tile: side of the tiles in pixels; of a network in stages, that of the part which takes most memory.

    Raises:
        NotTiled: the model is of another kind, or a layer of it sees the whole picture in a way that cannot be gathered
            from tiles; the message names it.
        UsageError: the smallest tile takes more than the budget.

    Example:
        >>> from cellseg_mmdet.tiling.pictures import ArrayPicture
        >>> def cells_in(detector, pixels):
        ...     tiled = TiledDetector(detector, tile=1024)
        ...     with Scratch(limit_bytes=1e9) as scratch:
        ...         return tiled.instances(ArrayPicture(pixels), pixels.shape[:2], scratch)
    """

    def __init__(
        self,
        model: Any,
        *,
        tile: int | None = None,
        budget_bytes: float | None = None,
        in_stages: bool | None = None,
    ) -> None:
        self.model = model
        preprocessor = model.data_preprocessor
        if type(preprocessor) is not DetDataPreprocessor:
            raise NotTiled(
                f"data_preprocessor is a {type(preprocessor).__name__}; tiles know DetDataPreprocessor"
            )
        self._divisor = preprocessor.pad_size_divisor
        kind = type(model)
        heads: type[TwoStage | RTMDetIns]
        if isinstance(model, TwoStageDetector) and kind.predict is TwoStageDetector.predict:
            heads = TwoStage
        elif kind is RTMDet:
            heads = RTMDetIns
        else:
            raise NotTiled(f"{kind.__name__} is no detector that is known to tiles")
        self._channels = int(preprocessor.mean.numel()) if _normalises(model) else 3
        self._in_stages = in_stages
        self._one = in_one(model, self._channels, self._divisor)
        reach = self._one.features.reach
        self._heads = heads(model, reach.strides, reach.channels, self._divisor)
        self._bytes_at_once = budget_bytes or _BYTES_AT_ONCE
        self.tile = tile or (self._largest_tile(budget_bytes) if budget_bytes else _TILE)

    @cached_property
    def _stages(self) -> Pieces | None:
        return in_stages(self.model, self._channels, self._divisor)

    def _largest_tile(self, budget_bytes: float) -> int:
        """Return the side of the largest tile that the network has room for, context included."""
        tile = self._one.largest_tile(budget_bytes)
        if tile < 1 or self._prefers_stages(tile):
            stages = self._stages
            tile = max(tile, stages.largest_tile(budget_bytes) if stages else 0)
        if tile < 1:
            raise UsageError(
                f"the smallest tile of this model takes more than the {budget_bytes / 1e9:.2g} GB that there are for "
                "it: give more (--memory)"
            )
        return tile

    def _prefers_stages(self, tile: int) -> bool:
        """Return whether the network is taken apart, if there is room for what its stages give."""
        if self._in_stages is not None:
            return self._in_stages and self._stages is not None
        one = self._one.times(tile)
        if one <= MOST_TIMES or self._stages is None:
            return False
        return self._stages.times(tile) < one

    def _pieces(self, padded_hw: tuple[int, int], room_bytes: float = math.inf) -> Pieces:
        if self._prefers_stages(self.tile):
            assert self._stages is not None
            if self._in_stages or self._stages.map_bytes(padded_hw) < room_bytes:
                return self._stages
        return self._one

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width as the network sees them, in pixels."""
        height, width = (-(-side // self._divisor) * self._divisor for side in size_hw)
        return height, width

    def cost(self, size_hw: tuple[int, int]) -> Cost:
        """Return what tiles cost for a picture of this height and width in pixels, as the network sees it."""
        padded = self.padded(size_hw)
        pieces = self._pieces(padded)
        sides = pieces.tiles(self.tile)
        counts = [
            len(piece.part.cover(padded, side))
            for piece, side in zip(pieces.pieces, sides, strict=True)
        ]
        return Cost(
            tiles=max(counts),
            context=pieces.context,
            passes=pieces.passes if max(counts) > 1 else 1,
            times=pieces.times(self.tile, padded),
            pieces=len(pieces.pieces),
            map_bytes=pieces.map_bytes(padded),
        )

    @torch.no_grad()
    def instances(
        self,
        picture: NetworkPicture,
        size_hw: tuple[int, int],
        scratch: Scratch,
        *,
        description: str = "tiles",
    ) -> InstanceData:
        """Return the ``pred_instances`` that ``model.test_step`` gives of the whole picture.

        Args:
            picture: what the network sees.
            size_hw: height and width of the picture before it was resized for the network: of the masks.
            scratch: for feature maps.
            description: of the progress bar.

        Raises:
            UsageError: there is no room for the feature maps.
            DataError: the network gives values that are not numbers.
        """
        padded = self.padded(picture.size_hw)
        meta = self._meta(picture.size_hw, size_hw, padded)
        device = self.model.data_preprocessor.device
        room = scratch.room_bytes()
        if torch.device(device).type != "cpu":
            room = SHARE * free_bytes(device)
        maps = self._pieces(padded, room).maps(
            padded, self.tile, partial(self._read, picture), scratch, device, description
        )
        found = self._heads.predict(
            maps, DetDataSample(metainfo=meta), self.tile, self._bytes_at_once
        )
        maps.free()
        return found

    @staticmethod
    def _meta(
        seen_hw: tuple[int, int], size_hw: tuple[int, int], padded_hw: tuple[int, int]
    ) -> dict[str, Any]:
        """Return what mmdet's heads look up of a picture."""
        return dict(
            ori_shape=size_hw,
            img_shape=seen_hw,
            scale_factor=(seen_hw[1] / size_hw[1], seen_hw[0] / size_hw[0]),
            batch_input_shape=padded_hw,
            pad_shape=padded_hw,
        )

    def _read(self, picture: NetworkPicture, window: Rect) -> list[Tensor]:
        """Return the window (1, channels, rows, columns), normalised, and padded as the whole picture is."""
        height, width = picture.size_hw
        pixels = picture.read(window.y0, window.x0, min(window.y1, height), min(window.x1, width))
        inputs = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
        preprocessor = self.model.data_preprocessor
        seen = preprocessor({"inputs": [inputs]}, False)["inputs"]
        # It pads to its divisor from where the window begins, not from where the picture does.
        rows, columns = pixels.shape[:2]
        beyond = (0, window.width - columns, 0, window.height - rows)
        return [F.pad(seen[:, :, :rows, :columns], beyond, value=preprocessor.pad_value)]


def can_tile(model: Any) -> str | None:
    """Return why a detector cannot be worked on tile by tile with the result of the whole, or None if it can."""
    try:
        TiledDetector(model)
    except NotTiled as error:
        return str(error)
    return None


def _normalises(model: Any) -> bool:
    return bool(getattr(model.data_preprocessor, "_enable_normalize", False))
