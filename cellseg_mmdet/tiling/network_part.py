"""`NetworkPart`: a part of a network that is worked on tile by tile, with the outputs of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.tiling.budget import OVERHEAD
from cellseg_mmdet.tiling.cover import Cover, Rect, Tile
from cellseg_mmdet.tiling.measured_reach import SIDE, Measured, NotTiled
from cellseg_mmdet.tiling.receptive_field import peak_bytes_per_px
from cellseg_mmdet.tiling.same_kernels import SameKernels
from cellseg_mmdet.tiling.whole_map import WholeMapLayer, WholeMapLayers, gather_all


class NetworkPart:
    """A part of a network, in eval mode.

    Args:
        name: for errors.
        module: whose layers run in it, by the names that errors give.
        run: from windows (1, C, h, w) of the inputs to those of the outputs.
        strides: of the inputs, in pixels.
        channels: of the inputs.
        divisor: the picture ends at a multiple of this many pixels, and tiles begin at such.

    Attributes:
        reach: what the part looks at.
        ends_anywhere: whether the picture may end at any multiple of the divisor, not at those of the stride alone.

    Raises:
        NotTiled: the outputs in a tile are not those in the whole picture.

    Example:
        >>> convolution = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        >>> part = NetworkPart("conv", convolution, lambda maps: [convolution(maps[0])], [1], [1])
        >>> part.reach.strides, part.reach.context, part.reach.layers
        ((2,), (2, 0), ())
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        run: Callable[[list[Tensor]], Sequence[Tensor]],
        strides: Sequence[int],
        channels: Sequence[int],
        *,
        divisor: int = 1,
    ) -> None:
        self.name = name
        self._run = run
        self._measured = Measured(name, module, run, strides, channels, divisor)
        with torch.inference_mode():
            self.reach = self._measured.reach()
            self.ends_anywhere = self._measured.ends_anywhere(self.reach)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self._measured.like.dtype

    @cached_property
    def passes(self) -> int:
        """How often a picture of several tiles is gone through."""
        with torch.inference_mode():
            return 1 + self._gather_once(self._measured.inputs(SIDE, SIDE))

    @cached_property
    def work_per_px(self) -> tuple[float, float]:
        """Multiplications and additions of one pass by pixel, and of all passes that several tiles take.

        A pass for statistics ends at the last layer that it gathers for.
        """
        with torch.inference_mode():
            inputs = self._measured.inputs(SIDE, SIDE)
            with FlopCounterMode(display=False) as once:
                self._run(inputs)
            with FlopCounterMode(display=False) as gathering:
                self._gather_once(inputs)
        one, more = (each.get_total_flops() / SIDE**2 for each in (once, gathering))
        return one, one + more

    @cached_property
    def bytes_per_px(self) -> float:
        """Memory that the tensors take at their most, by pixel of the picture."""
        inputs = self._measured.inputs(SIDE, SIDE)
        return OVERHEAD * peak_bytes_per_px(
            self._measured.module,
            inputs,
            lambda *given: self._run(list(given)),
            self._measured.strides,
        )

    def _gather_once(self, inputs: list[Tensor]) -> int:
        whole = Rect(0, 0, SIDE, SIDE)
        return gather_all(
            self._fresh_layers(), lambda: [whole], lambda _: self._run(inputs), lambda _: whole
        )

    def _fresh_layers(self) -> list[WholeMapLayer]:
        return [WholeMapLayer(each.name, each.groups, each.stride) for each in self.reach.layers]

    # ---------------------------------------------------------------- working on tiles

    def cover(self, size_hw: tuple[int, int], tile: int) -> Cover:
        """Return the tiles of a picture (height, width), padding included, in pixels."""
        stride = self.reach.stride
        side = max(stride, tile // stride * stride)
        return Cover(*size_hw, tile=side, context=self.reach.context, stride=stride)

    def work(
        self,
        size_hw: tuple[int, int],
        tile: int,
        read: Callable[[Rect], list[Tensor]],
        write: Callable[[Rect, list[Tensor]], None],
        description: str = "tiles",
    ) -> None:
        """Compute all outputs, tile by tile.

        Args:
            size_hw: height and width of the picture, padding included.
            tile: side of the cores in pixels, rounded down to the stride.
            read: gives the windows of the inputs.
            write: takes the core of a tile and the outputs there.
            description: of the progress bar.

        Raises:
            NotTiled: a map has another size than the network's strides give.
            DataError: see `gather_all`.
        """
        if not self.ends_anywhere and any(side % self.reach.stride for side in size_hw):
            raise NotTiled(
                f"{self.name}: a picture of {size_hw[0]} x {size_hw[1]} pixels, padding included, does not end at a "
                f"multiple of {self.reach.stride}: set pad_size_divisor to {self.reach.stride}"
            )
        tiles = [_clipped(each, size_hw) for each in self.cover(size_hw, tile)]
        if len(tiles) == 1:
            write(tiles[0].core, list(self._run(read(tiles[0].read))))
            return
        layers = self._fresh_layers()
        gather_all(
            layers,
            lambda: progress_bar(tiles, description=f"{description}, statistics", unit="tile"),
            lambda each: self._seen(size_hw, each, read),
            lambda each: each.core.within(each.read),
        )
        for each in progress_bar(tiles, description=description, unit="tile"):
            with WholeMapLayers(layers):
                outputs = self._seen(size_hw, each, read)
            write(each.core, self._cores(outputs, each))

    def _seen(
        self, size_hw: tuple[int, int], tile: Tile, read: Callable[[Rect], list[Tensor]]
    ) -> list[Tensor]:
        """Return the outputs for what a tile reads."""
        inputs = read(tile.read)
        with SameKernels(size_hw, (tile.read.height, tile.read.width)):
            return list(self._run(inputs))

    def _cores(self, outputs: Sequence[Tensor], tile: Tile) -> list[Tensor]:
        cores = []
        for values, stride in zip(outputs, self.reach.strides, strict=True):
            size = Rect(0, 0, tile.read.height, tile.read.width).divided(stride)
            if tuple(values.shape[2:]) != (size.y1, size.x1):
                raise NotTiled(
                    f"{self.name}: a map of stride {stride} has {tuple(values.shape[2:])} points for "
                    f"{tile.read.height} x {tile.read.width} pixels, not {size.y1} x {size.x1}: "
                    f"set pad_size_divisor to {self.reach.stride}"
                )
            own = tile.core.within(tile.read).divided(stride)
            cores.append(values[:, :, own.rows, own.columns])
        return cores


def _clipped(tile: Tile, size_hw: tuple[int, int]) -> Tile:
    """Return a tile whose window ends with the padded picture, where the network pads by itself."""
    read = tile.read
    return Tile(
        tile.core, Rect(read.y0, read.x0, min(read.y1, size_hw[0]), min(read.x1, size_hw[1]))
    )
