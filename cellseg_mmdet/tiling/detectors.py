"""Detectors worked on tile by tile, with the result of the whole picture.

In the first pass the feature maps are made tile by tile, each from a window with as much around it as the network
looks at; the dense head is run on them, and the best places of the whole picture go on. In the second pass the RoI
heads see the maps of the whole. Caps, suppression and order are mmdet's own, over the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import RTMDet
from mmdet.models.detectors.two_stage import TwoStageDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tiling.budget import network_bytes_per_px
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.maps import WholeMaps, map_bytes
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.pictures import NetworkPicture
from cellseg_mmdet.tiling.rtmdet import RTMDetIns
from cellseg_mmdet.tiling.scratch import Scratch
from cellseg_mmdet.tiling.two_stage import TwoStage

# What is worked on together may take, where no budget is given.
_BYTES_AT_ONCE = 1 << 30
_TILE = 1024


@dataclass(frozen=True)
class Cost:
    """What tiles cost.

    Attributes:
        tiles: how many there are.
        context: pixels before and behind a tile that are read with it.
        passes: how often the backbone goes through the picture: once, and once more for each of its layers that
            looks at whole maps and depends on another one.
        times: pixels that the backbone sees, by those of the picture.
        map_bytes: of the maps that are kept, in memory or in files.
    """

    tiles: int
    context: tuple[int, int]
    passes: int
    times: float
    map_bytes: int


class TiledDetector:
    """Gives the instances that a detector of mmdet gives of the whole picture.

    The same instances in the same order, with the same scores and masks, as far as sums of floats that are taken in
    another order allow: scores agree within 1e-5.

    Args:
        model: mmdet's detector in eval mode.
        tile: side of the tiles in pixels, rounded down to the stride. Give either this or ``budget_bytes``.
        budget_bytes: what the network may take.

    Attributes:
        tile: side of the tiles in pixels.
        stride: where tiles may begin, in pixels.
        context: pixels before and behind a tile that are read with it.

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
        self, model: Any, *, tile: int | None = None, budget_bytes: float | None = None
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
        self._parts = self._network()
        reach = self._parts[-1].reach
        self._heads = heads(model, reach.strides, reach.channels, self._divisor)
        self.stride = self._parts[0].reach.stride
        self.context = self._parts[0].reach.context
        self._bytes_at_once = budget_bytes or _BYTES_AT_ONCE
        self.tile = tile or (self._largest_tile(budget_bytes) if budget_bytes else _TILE)

    def _largest_tile(self, budget_bytes: float) -> int:
        """Return the side of the largest tile that the network has room for, context included."""
        per_px = network_bytes_per_px(self.model)
        side = math.isqrt(int(budget_bytes / per_px))
        tile = (side - sum(_up(length, self.stride) for length in self.context)) // self.stride
        if tile < 1:
            least = self.stride + sum(_up(length, self.stride) for length in self.context)
            raise UsageError(
                f"the smallest tile of this model takes {per_px * least**2 / 1e9:.2g} GB, more than the "
                f"{budget_bytes / 1e9:.2g} GB that there are for it: give more (--memory)"
            )
        return tile * self.stride

    def _network(self) -> list[NetworkPart]:
        """Return backbone and neck as one part; as two where the neck would have the backbone go through all again."""
        model = self.model

        def features(inputs: list[Tensor]) -> list[Tensor]:
            return list(model.extract_feat(inputs[0]))

        channels = int(model.data_preprocessor.mean.numel()) if _normalises(model) else 3
        whole = NetworkPart("network", model, features, [1], [channels], divisor=self._divisor)
        if not any(layer.name.startswith("neck.") for layer in whole.reach.layers):
            return [whole]
        backbone = NetworkPart(
            "backbone",
            model.backbone,
            lambda inputs: list(model.backbone(inputs[0])),
            [1],
            [channels],
            divisor=self._divisor,
        )
        neck = NetworkPart(
            "neck",
            model.neck,
            lambda maps: list(model.neck(tuple(maps))),
            backbone.reach.strides,
            backbone.reach.channels,
            divisor=self._divisor,
        )
        return [backbone, neck]

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width as the network sees them, in pixels."""
        height, width = (-(-side // self._divisor) * self._divisor for side in size_hw)
        return height, width

    def cost(self, size_hw: tuple[int, int]) -> Cost:
        """Return what tiles cost for a picture of this height and width in pixels, as the network sees it."""
        padded = self.padded(size_hw)
        first = self._parts[0]
        cover = first.cover(padded, self.tile)
        passes = first.passes if len(cover) > 1 else 1
        maps = [
            map_bytes(part.reach.channels, part.reach.strides, padded, part.dtype)
            for part in self._parts
        ]
        return Cost(
            tiles=len(cover),
            context=self.context,
            passes=passes,
            times=passes * cover.read_pixels / (padded[0] * padded[1]),
            map_bytes=sum(maps),
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
        read: Callable[[Rect], list[Tensor]] = partial(self._read, picture)
        maps: WholeMaps | None = None
        for part in self._parts:
            filled = WholeMaps(
                part.reach.channels,
                part.reach.strides,
                padded,
                scratch,
                device=self.model.data_preprocessor.device,
                dtype=part.dtype,
            )
            part.work(padded, self.tile, read, filled.write, description)
            if maps is not None:
                maps.free()
            maps, read = filled, filled.read
        assert maps is not None
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
        return [self.model.data_preprocessor({"inputs": [inputs]}, False)["inputs"]]


def can_tile(model: Any) -> str | None:
    """Return why a detector cannot be worked on tile by tile with the result of the whole, or None if it can."""
    try:
        TiledDetector(model)
    except NotTiled as error:
        return str(error)
    return None


def _up(length: int, stride: int) -> int:
    return -(-length // stride) * stride


def _normalises(model: Any) -> bool:
    return bool(getattr(model.data_preprocessor, "_enable_normalize", False))
