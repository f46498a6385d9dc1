"""The maps of a pixel model for a picture of any size, part by part and tile by tile; equal to those of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.models.pixel.detector import mirrored
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.tiling.budget import OVERHEAD
from cellseg_mmdet.tiling.cover import Cover, Tile
from cellseg_mmdet.tiling.parts import Part, parts_of
from cellseg_mmdet.tiling.pictures import NetworkPicture
from cellseg_mmdet.tiling.same_kernels import SameKernels
from cellseg_mmdet.tiling.scratch import Scratch


class PixelMaps:
    """Computes the maps of pictures with one pixel model.

    Args:
        detector: in eval mode.
        tile: side of the tiles of the part that takes the most memory by pixel; the other parts have tiles that take as
            much as those. Give either this or ``budget_bytes``.
        budget_bytes: what the network may take.
        offset_yx: where the second tiles begin, in units of the largest stride; for tests.
        whole: do not take the network apart.

    Attributes:
        parts: of the network.
        tiles: side of the tiles of each part.

    Raises:
        NotLocalError: some of the network depends on the whole picture: no tiles give the same.
        UsageError: the smallest tile takes more than the budget.
    """

    def __init__(
        self,
        detector: PixelDetector,
        *,
        tile: int | None = None,
        budget_bytes: float | None = None,
        offset_yx: tuple[int, int] = (0, 0),
        whole: bool = False,
    ) -> None:
        preprocessor = detector.data_preprocessor
        if getattr(preprocessor, "pad_size_divisor", 1) != 1:
            raise UsageError(
                f"data_preprocessor.pad_size_divisor={preprocessor.pad_size_divisor}: a PixelDetector mirrors pictures "
                "to the size that it needs; with pictures padded before it, tiles are not possible: set it to 1"
            )
        self.detector = detector
        self.parts = parts_of(detector, whole=whole)
        if budget_bytes is None:
            if tile is None:
                raise ValueError("either a tile or a budget")
            dearest = max(self.parts, key=lambda part: part.field.bytes_per_px)
            budget_bytes = _bytes_of(dearest, _multiple(tile, dearest.stride))
            self.tiles = [
                max(_largest_tile(part, budget_bytes), _least_tile(part, tile))
                for part in self.parts
            ]
        else:
            self.tiles = [_largest_tile(part, budget_bytes) for part in self.parts]
            for part, side in zip(self.parts, self.tiles, strict=True):
                if side < part.stride:
                    raise UsageError(
                        f"the smallest tile of this model takes {_bytes_of(part, part.stride) / 1e9:.2g} GB, more "
                        f"than the {budget_bytes / 1e9:.2g} GB that there are for it: give more (--memory)"
                    )
        self.offset_yx = offset_yx

    @property
    def stride(self) -> int:
        """Of the whole network."""
        return max(part.stride for part in self.parts)

    def bytes_for(self, size_hw: tuple[int, int]) -> int:
        """Return what the results of all parts take for a picture, in memory or in files."""
        height, width = (_multiple(side, self.stride) for side in size_hw)
        return sum(
            4 * part.channels * (height // part.out_stride) * (width // part.out_stride)
            for part in self.parts
        )

    def cost(self, size_hw: tuple[int, int]) -> list[float]:
        """Return for each part the pixels that it sees in all tiles by those of the whole picture, 1 or more."""
        padded = [_multiple(side, self.stride) for side in size_hw]
        return [
            self._cover(number, *padded).read_pixels / (padded[0] * padded[1])
            for number in range(len(self.parts))
        ]

    @torch.no_grad()
    def __call__(
        self, picture: NetworkPicture, scratch: Scratch, description: str = "tiles"
    ) -> np.ndarray:
        """Return the maps (maps, H, W) float32 of a picture, in an array of ``scratch``."""
        height, width = picture.size_hw
        frame = _multiple(height, self.stride), _multiple(width, self.stride)
        covers = [self._cover(number, *frame) for number in range(len(self.parts))]
        covers[-1] = self._cover(len(self.parts) - 1, height, width)
        results: list[np.ndarray | None] = [None]
        steps = [(number, tile) for number, cover in enumerate(covers) for tile in cover]
        for number, tile in progress_bar(steps, description=description, unit="tile"):
            part = self.parts[number]
            if len(results) == number + 1:  # its first tile
                is_last = number == len(self.parts) - 1
                size = (height, width) if is_last else [side // part.out_stride for side in frame]
                results.append(scratch.array((part.channels, *size), np.float32))
            result = results[-1]
            assert result is not None
            tensors = self._inputs(part, tile, picture, results)
            # Not while the network takes the most: the system maps more of a file than is read, and of all that a part
            # looks at a row of large tiles would come to a gigabyte.
            for array in results:
                if array is not None:
                    scratch.let_go(array)
            self._compute(part, tile, tensors, result, picture.size_hw)
            del tensors
            scratch.let_go(result)
            if tile.core[2:] == (covers[number].height, covers[number].width):  # its last one
                self._forget(number, results, scratch)
        assert results[-1] is not None
        return results[-1]

    def _forget(self, number: int, results: list[np.ndarray | None], scratch: Scratch) -> None:
        """Free the results that no part behind part ``number`` looks at."""
        needed = {of for part in self.parts[number + 1 :] for of in part.inputs}
        for earlier, array in enumerate(results[: number + 1]):
            if array is not None and earlier not in needed:
                scratch.free(array)
                results[earlier] = None

    def _cover(self, number: int, height: int, width: int) -> Cover:
        part, tile = self.parts[number], self.tiles[number]
        before, behind = part.field.context
        if len(self.parts) == 1:
            # What the network gets beyond a side anyway; a network without padding needs no more.
            given = self.detector.context(part.stride)
            behind = max(0, behind - sum(given))
        offset_y, offset_x = (side * part.stride % tile for side in self.offset_yx)
        return Cover(height, width, tile, (before, behind), part.stride, (offset_y, offset_x))

    def _inputs(
        self,
        part: Part,
        tile: Tile,
        picture: NetworkPicture,
        results: Sequence[np.ndarray | None],
    ) -> list[Tensor]:
        """Return copies of what a part looks at for a tile."""
        tensors = []
        for number, stride in zip(part.inputs, part.input_strides, strict=True):
            array = results[number]
            if array is None:
                tensors.append(self._seen(picture, tile))
            else:
                window = tile.read.divided(stride)
                copied = np.ascontiguousarray(array[:, window.rows, window.columns])
                tensors.append(torch.from_numpy(copied)[None].to(self._device))
        return tensors

    def _compute(
        self,
        part: Part,
        tile: Tile,
        tensors: Sequence[Tensor],
        result: np.ndarray,
        size_hw: tuple[int, int],
    ) -> None:
        height, width = (_multiple(side, self.stride) for side in size_hw)
        with SameKernels((height, width), (tile.read.height, tile.read.width)):
            found = part.run(tensors)[0]
        core = tile.core.divided(part.out_stride)
        inner = core.within(tile.read.divided(part.out_stride))
        result[:, core.rows, core.columns] = (
            found[:, inner.rows, inner.columns].float().cpu().numpy()
        )

    def _seen(self, picture: NetworkPicture, tile: Tile) -> Tensor:
        """Return what the network gets for a tile: pixels, mirrored beyond the picture, and normalised."""
        indices = []
        for length, begin, end in zip(picture.size_hw, tile.read[:2], tile.read[2:], strict=True):
            before = behind = 0
            if len(self.parts) == 1:
                before, behind = self.detector.context(end - begin)
            indices.append(mirrored(np.arange(begin - before, end + behind), length))
        rows, columns = indices
        y0, x0 = int(rows.min()), int(columns.min())
        pixels = picture.read(y0, x0, int(rows.max()) + 1, int(columns.max()) + 1)
        pixels = pixels[rows - y0][:, columns - x0]
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        data = {"inputs": [image], "data_samples": None}
        return self.detector.data_preprocessor(data, training=False)["inputs"]

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device


def _multiple(side: int, stride: int) -> int:
    return max(1, math.ceil(side / stride)) * stride


def _bytes_of(part: Part, tile: int) -> float:
    side = tile + sum(_multiple(context, part.stride) for context in part.field.context)
    return OVERHEAD * part.field.bytes_per_px * side * side


def _largest_tile(part: Part, budget_bytes: float) -> int:
    """Return the largest tile of a part that a budget has room for; less than its stride if it has room for none."""
    side = math.sqrt(budget_bytes / (OVERHEAD * part.field.bytes_per_px))
    side -= sum(_multiple(context, part.stride) for context in part.field.context)
    return int(side) // part.stride * part.stride


def _least_tile(part: Part, tile: int) -> int:
    """Return the smallest tile of a part for that of the dearest part: as many points, if it looks that far."""
    points = tile * min(part.input_strides)
    return _multiple(max(tile, min(points, sum(part.field.context))), part.stride)
