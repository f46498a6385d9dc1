"""Layers that look at a whole map at once, made to give in a tile what they give in the whole picture.

A group norm takes mean and variance over all pixels of its map, a channel attention the mean. In a tile they would see
the tile only. Here their sums are gathered over the cores of all tiles first, pass by pass, as what the second such
layer sees depends on the first one; then every tile is worked on with the numbers of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.tiling.cover import Rect


class AllSeen(Exception):
    """A pass over a tile has met every layer that it can gather for: the rest of the network need not run."""


@dataclass
class WholeMapLayer:
    """One call of a layer that looks at a whole map.

    Attributes:
        name: of the module that calls it, such as ``neck.fpn_convs.0.gn``.
        groups: of channels whose numbers are taken together; 0 for a mean of each channel.
        stride: of its map, in pixels of the picture.
        sums: (3, groups or channels) float64 on the CPU: values, squares, count; None before the first tile.
        known: whether all tiles are in ``sums``.
    """

    name: str
    groups: int
    stride: int
    sums: Tensor | None = None
    known: bool = False

    def add(self, core: Tensor) -> None:
        """Add the values (1, C, h, w) of the core of a tile."""
        values = core[0].double().reshape(self.groups or core.shape[1], -1)
        count = values.new_full((len(values),), values.shape[1])
        part = torch.stack([values.sum(1), values.square().sum(1), count]).cpu()
        self.sums = part if self.sums is None else self.sums + part

    def mean_and_variance(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return both (groups or channels,) float64, on the device of ``like``."""
        if self.sums is None:
            raise RuntimeError(f"{self.name}: no tile was seen")
        total, squares, count = self.sums.to(like.device)
        mean = total / count
        return mean, (squares / count - mean.square()).clamp(min=0)


class WholeMapLayers(TorchFunctionMode):
    """Within this context the layers of one forward pass are recognised by their order.

    Args:
        layers: of the part of a network that runs in the context.
        gather: the core of the tile in pixels, within what the tile reads: the layers whose input depends on known
            ones only add it to their sums. None computes with what is known.
        last: index of the last layer that can be gathered for; `AllSeen` is raised behind it. None runs to the end.

    Attributes:
        gathered: indices of the layers that were added to.
    """

    def __init__(
        self, layers: Sequence[WholeMapLayer], gather: Rect | None = None, last: int | None = None
    ) -> None:
        super().__init__()
        self.layers = layers
        self.gather = gather
        self.last = last
        self.gathered: list[int] = []
        self._next = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        call = whole_map_call(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        index, self._next = self._next, self._next + 1
        layer = self.layers[index]
        if not layer.stride:  # of numbers that are those of the whole already
            return func(*args, **(kwargs or {}))
        if layer.known:
            return call.compute(layer)
        if self.gather is None:
            raise RuntimeError(f"{layer.name} is used before it was gathered for")
        rows, columns = (
            self.gather.divided(layer.stride)[::2],
            self.gather.divided(layer.stride)[1::2],
        )
        core = call.input[:, :, slice(*rows), slice(*columns)]
        if not core.isnan().any():
            layer.add(core)
            self.gathered.append(index)
        if index == self.last:
            raise AllSeen
        # What depends on this layer is not known in this pass: NaN tells it from what is.
        return call.unknown()


@dataclass(frozen=True)
class WholeMapCall:
    """A call of a function that looks at the whole map ``input`` (1, C, h, w).

    Attributes:
        groups: as in `WholeMapLayer`.
        weight: (C,) of a norm, or None.
        bias: (C,) of a norm, or None.
        eps: of a norm.
    """

    input: Tensor
    groups: int
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 0.0

    def unknown(self) -> Tensor:
        """Return NaN of the shape of the result."""
        pooled = self.input if self.groups else self.input[:, :, :1, :1]
        return torch.full_like(pooled, torch.nan)

    def compute(self, layer: WholeMapLayer) -> Tensor:
        """Return the result with the numbers of the whole."""
        mean, variance = layer.mean_and_variance(self.input)
        if not self.groups:
            return mean.to(self.input.dtype).reshape(1, -1, 1, 1)
        repeats = self.input.shape[1] // self.groups
        scale = (variance + self.eps).rsqrt().repeat_interleave(repeats)
        if self.weight is not None:
            scale = scale * self.weight.double()
        shift = -mean.repeat_interleave(repeats) * scale
        if self.bias is not None:
            shift = shift + self.bias.double()
        scale, shift = (each.to(self.input.dtype).reshape(1, -1, 1, 1) for each in (scale, shift))
        return torch.addcmul(shift, self.input, scale)


def whole_map_call(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> WholeMapCall | None:
    """Return what a call of a torch function is if it looks at whole maps in one of the known ways, else None.

    Known are group norm, instance norm and the mean of a map, which channel attention begins with.
    """
    if func is F.group_norm:
        return _norm(*args, **kwargs)
    if func is F.instance_norm:
        return _instance_norm(*args, **kwargs)
    if func is F.adaptive_avg_pool2d:
        return _mean(*args, **kwargs)
    return None


def _norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> WholeMapCall | None:
    return WholeMapCall(input, num_groups, weight, bias, eps) if input.ndim == 4 else None


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> WholeMapCall | None:
    del running_mean, running_var, momentum
    return _norm(input, input.shape[1], weight, bias, eps) if use_input_stats else None


def _mean(input: Tensor, output_size: Any) -> WholeMapCall | None:
    sizes = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
    return WholeMapCall(input, 0) if input.ndim == 4 and sizes == (1, 1) else None


def gather_all(
    layers: Sequence[WholeMapLayer],
    tiles: Callable[[], Any],
    run: Callable[[Any], Any],
    core_of: Callable[[Any], Rect],
) -> int:
    """Gather for all layers, in as many passes over all tiles as layers depend on each other.

    Args:
        layers: nothing is known of them yet.
        tiles: gives the tiles of a pass.
        run: runs the network on a tile.
        core_of: gives the core of a tile within what it reads.

    Returns:
        The number of passes.

    Raises:
        DataError: what a layer sees holds NaN in itself, whatever is known.
    """
    passes = 0
    while waiting := [layer for layer in layers if layer.stride and not layer.known]:
        passes += 1
        gathered: list[int] | None = None
        for tile in tiles():
            last = None if gathered is None else gathered[-1]
            context = WholeMapLayers(layers, core_of(tile), last)
            try:
                with context:
                    run(tile)
            except AllSeen:
                pass
            if not context.gathered or (gathered is not None and context.gathered != gathered):
                raise DataError(
                    f"{waiting[0].name}: the network gives values that are not numbers (NaN)"
                )
            gathered = context.gathered
        for index in gathered or ():
            layers[index].known = True
    return passes
