"""A pixel model on pictures of any size: maps from tiles, cells from the maps of the whole picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from mmengine.structures import InstanceData

from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.pixel_codes import IDENTITY, Turn
from cellseg_mmdet.tiling.budget import DECODING_BYTES_PER_PX
from cellseg_mmdet.tiling.pictures import NetworkPicture, TurnedPicture
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.regions import BAND_PIXELS, decode_by_region
from cellseg_mmdet.tiling.scratch import Scratch
from cellseg_mmdet.tiling.sized_maps import SizedMaps


class TiledPixelDetector:
    """Gives the instances that a `PixelDetector` gives of the whole picture.

    The network's maps are computed tile by tile with all the context that it looks at, and put together on one grid;
    cells are decoded from them region by region. Both are exact: what differs are the last bits of sums, by which torch
    adds tensors of other sizes in another order.

    Args:
        maps: of the detector.

    Example:
        >>> from cellseg_mmdet.tiling.pictures import ArrayPicture
        >>> def cells_in(detector, pixels):
        ...     tiled = TiledPixelDetector(PixelMaps(detector, tile=1024))
        ...     with Scratch(limit_bytes=1e9) as scratch:
        ...         return tiled.instances(ArrayPicture(pixels), pixels.shape[:2], scratch)
    """

    def __init__(self, maps: PixelMaps) -> None:
        self.maps = maps

    @property
    def detector(self) -> PixelDetector:
        """The model."""
        return self.maps.detector

    @torch.no_grad()
    def instances(
        self,
        picture: NetworkPicture,
        size_hw: tuple[int, int],
        scratch: Scratch,
        *,
        views: Sequence[Turn] = (IDENTITY,),
        description: str = "tiles",
        decoding_bytes: float = math.inf,
        notes: list[str] | None = None,
    ) -> InstanceData:
        """Return what `PixelDetector.instances` returns of a picture's maps, or `PixelTTAModel` of those of its views.

        Args:
            picture: what the network sees.
            size_hw: height and width of the masks.
            scratch: for the results of the network.
            views: flips and quarter turns of the picture, whose maps are averaged.
            description: of the progress bar.
            decoding_bytes: what decoding may take; a region of the foreground that would take more is decoded in
                windows that overlap, which is near and not equal.
            notes: gets what users should know of that.
        """
        if len(views) == 1:
            maps = self.maps(TurnedPicture(picture, views[0]), scratch, description)
            turn = views[0].inverse
        else:
            maps = self._mean(picture, size_hw, scratch, views, description)
            turn = IDENTITY
        sized = SizedMaps(
            maps, size_hw, self.detector.code, turn, let_go=lambda: scratch.let_go(maps)
        )
        found = decode_by_region(
            self.detector, sized, most_px=decoding_bytes / DECODING_BYTES_PER_PX, notes=notes
        )
        scratch.free(maps)
        return found.to_instances()

    def _mean(
        self,
        picture: NetworkPicture,
        size_hw: tuple[int, int],
        scratch: Scratch,
        views: Sequence[Turn],
        description: str,
    ) -> np.ndarray:
        """Return the mean (maps, H, W) of the maps of all views, each brought back to the picture."""
        height, width = size_hw
        mean = scratch.array((self.maps.parts[-1].channels, height, width), np.float32)
        for number, view in enumerate(views, start=1):
            label = f"{description}, view {number} of {len(views)}"
            maps = self.maps(TurnedPicture(picture, view), scratch, label)
            sized = SizedMaps(
                maps,
                size_hw,
                self.detector.code,
                view.inverse,
                let_go=partial(scratch.let_go, maps),
            )
            rows = max(1, BAND_PIXELS // width)
            for y0 in range(0, height, rows):
                y1 = min(y0 + rows, height)
                mean[:, y0:y1] += sized.read(y0, 0, y1, width)
                if number == len(views):
                    mean[:, y0:y1] /= len(views)
                scratch.let_go(mean)
            scratch.free(maps)
        return mean
