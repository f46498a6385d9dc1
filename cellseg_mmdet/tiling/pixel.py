"""A pixel model on pictures of any size: maps from tiles, cells from the maps of the whole picture."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData

from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.tiling.pixel_maps import NetworkPicture, PixelMaps
from cellseg_mmdet.tiling.regions import decode_by_region
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
        >>> from cellseg_mmdet.tiling.pixel_maps import ArrayPicture
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
        description: str = "tiles",
    ) -> InstanceData:
        """Return what `PixelDetector.instances` returns of a picture's maps.

        Args:
            picture: what the network sees.
            size_hw: height and width of the masks.
            scratch: for the results of the network.
            description: of the progress bar.
        """
        maps = self.maps(picture, scratch, description)
        sized = SizedMaps(maps, size_hw, self.detector.code)
        found = decode_by_region(self.detector, sized)
        scratch.free(maps)
        return found.to_instances()
