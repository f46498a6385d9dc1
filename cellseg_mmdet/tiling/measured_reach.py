"""How far a part of a network looks, measured.

NaN in a stripe of the input shows in every output that depends on the stripe, whatever the layers in between are. Then
a window of random values has to give what the whole gives. `receptive_field` finds the same without computing, for
networks whose operators are all known to it; layers whose numbers are gathered from tiles are known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cellseg_mmdet.tiling.receptive_field import NotLocalError
from cellseg_mmdet.tiling.whole_map import (
    WholeMapLayer,
    whole_map_call,
)

# Side of the square on which strides are measured: strides of up to half of it are found.
SIDE = 256
# Strips on which the reach is measured, in pixels; who looks further than half of the longest looks everywhere.
_LENGTHS = (1024, 4096)
_TOLERANCE = 1e-4


class NotTiled(NotLocalError):
    """A network whose outputs in a tile are not those in the whole picture: the message says which layer and why."""


@dataclass(frozen=True)
class Reach:
    """What a part of a network looks at.

    Attributes:
        stride: total stride in pixels: where tiles may begin.
        strides: of the outputs, in pixels.
        channels: of the outputs.
        contexts: of each output, the pixels before (above, to the left of) and behind a tile on which it depends.
        layers: those that look at whole maps, in the order in which they run.
    """

    stride: int
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    contexts: tuple[tuple[int, int], ...]
    layers: tuple[WholeMapLayer, ...]

    @property
    def context(self) -> tuple[int, int]:
        """Pixels before and behind a tile on which any of its outputs depends."""
        before, behind = zip(*self.contexts, strict=True)
        return max(before), max(behind)


class Measured:
    """A part of a network that is measured.

    Args:
        name: for errors.
        module: whose layers run in it, by the names that errors give.
        run: from windows (1, C, h, w) of the inputs to those of the outputs.
        strides: of the inputs, in pixels.
        channels: of the inputs.
        divisor: the picture ends at a multiple of this many pixels.

    Attributes:
        like: a weight, of the type and on the device of all.
        module: as given.
        strides: as given.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        run: Callable[[list[Tensor]], Sequence[Tensor]],
        strides: Sequence[int],
        channels: Sequence[int],
        divisor: int,
    ) -> None:
        _refuse_by_kind(module)
        self.like = next(module.parameters(), torch.zeros(())).detach()
        self._name = name
        self.module = module
        self._run = run
        self.strides = tuple(strides)
        self._channels = tuple(channels)
        self._divisor = divisor

    def reach(self) -> Reach:
        """Return what the part looks at.

        Raises:
            NotTiled: the outputs in a tile are not those in the whole picture.
        """
        watch = _Watch(self.module)
        with watch.names(), watch:
            outputs = self._run(self.inputs(SIDE, SIDE))
        strides = [_stride(self._name, values) for values in outputs]
        seen = [SIDE // rows for rows in watch.rows if rows > 1 and SIDE % rows == 0]
        stride = math.lcm(*strides, *seen, *self.strides, self._divisor)
        channels = tuple(values.shape[1] for values in outputs)
        draft = Reach(stride, tuple(strides), channels, (), tuple(watch.layers))
        for length in _LENGTHS:
            contexts = self._contexts(draft, length)
            if contexts is not None:
                reach = Reach(stride, draft.strides, channels, contexts, draft.layers)
                if differs := self._differs(reach, 0):
                    raise NotTiled(
                        f"{self._name}: a window gives other values than the whole, by {differs:.2g}: a layer of it "
                        "depends on where the window begins"
                    )
                return reach
        layer = self._first_that_sees_all(draft)
        raise NotTiled(
            f"{layer} looks at the whole picture, in a way that cannot be gathered from tiles"
        )

    def inputs(self, height: int, width: int) -> list[Tensor]:
        """Return random inputs of a picture of this size in pixels."""
        generator = torch.Generator().manual_seed(0)
        return [
            torch.randn(
                1, count, -(-height // stride), -(-width // stride), generator=generator
            ).to(self.like)
            for stride, count in zip(self.strides, self._channels, strict=True)
        ]

    def _poisoned(self, stride: int, length: int, axis: int) -> tuple[list[Tensor], int]:
        """Return inputs of a strip with NaN in its middle, ``stride`` pixels wide, and where that begins."""
        size = (length, stride) if axis == 0 else (stride, length)
        begin = length // 2 // stride * stride
        inputs = self.inputs(*size)
        for values, own in zip(inputs, self.strides, strict=True):
            values.narrow(2 + axis, begin // own, stride // own).fill_(torch.nan)
        return inputs, begin

    def _contexts(self, draft: Reach, length: int) -> tuple[tuple[int, int], ...] | None:
        """Return how far each output looks before and behind it; None if that is further than a strip is long."""
        length = -(-length // draft.stride) * draft.stride
        contexts = [(0, 0)] * len(draft.strides)
        for axis in (0, 1):
            inputs, begin = self._poisoned(draft.stride, length, axis)
            with _assumed(draft.layers):
                outputs = self._run(inputs)
            for index, (values, stride) in enumerate(zip(outputs, draft.strides, strict=True)):
                touched = values[0].isnan().any(dim=0).any(dim=1 - axis).nonzero()
                if not len(touched):
                    continue
                first, last = int(touched[0]), int(touched[-1])
                if first == 0 or last == values.shape[2 + axis] - 1:
                    return None
                before, behind = contexts[index]
                before = max(before, (last + 1) * stride - begin - draft.stride)
                contexts[index] = before, max(behind, begin - first * stride)
        return tuple(contexts)

    def _first_that_sees_all(self, draft: Reach) -> str:
        """Return the name of the first layer whose output is NaN all over though its input is not."""
        found: list[str] = []

        def look(module: nn.Module, inputs: Any, output: Any, *, name: str) -> None:
            maps = [each for each in inputs if isinstance(each, Tensor)]
            spreads = isinstance(output, Tensor) and bool(output.isnan().all())
            if maps and spreads and not any(each.isnan().all() for each in maps):
                found.append(f"{name} ({type(module).__name__})")

        hooks = [
            each.register_forward_hook(partial(look, name=name))
            for name, each in self.module.named_modules()
            if name
        ]
        inputs, _ = self._poisoned(draft.stride, _LENGTHS[-1], 1)
        try:
            with _assumed(draft.layers):
                self._run(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return found[0] if found else self._name

    def _differs(self, reach: Reach, beyond: int) -> float:
        """Return by how much a window of random values gives other outputs than the whole; 0 within the tolerance.

        Args:
            reach: as measured.
            beyond: pixels by which the picture ends behind a multiple of the stride.
        """
        before, behind = (-(-side // reach.stride) * reach.stride for side in reach.context)
        core = 2 * reach.stride
        length = before + core + behind + beyond
        whole = before + reach.stride + length
        worst = 0.0
        for axis in (0, 1):
            inputs = self.inputs(*((whole, core) if axis == 0 else (core, whole)))
            window = [
                each.narrow(2 + axis, (whole - length) // own, -(-length // own))
                for each, own in zip(inputs, self.strides, strict=True)
            ]
            with _assumed(reach.layers):
                outputs = self._run(inputs)
            with _assumed(reach.layers):
                parts = self._run(window)
            for values, part, stride in zip(outputs, parts, reach.strides, strict=True):
                count = -(-(length - before) // stride)
                expected = values.narrow(2 + axis, (whole - length + before) // stride, count)
                found = part.narrow(2 + axis, before // stride, count)
                differs = float((found - expected).abs().max())
                if differs > _TOLERANCE * max(1.0, float(expected.abs().max())):
                    worst = max(worst, differs)
        return worst

    def ends_anywhere(self, reach: Reach) -> bool:
        """Return whether a picture may end at any multiple of the divisor, not of the stride alone."""
        beyond = self._divisor % reach.stride
        if not beyond:
            return True
        try:
            return not self._differs(reach, beyond)
        except (
            RuntimeError
        ):  # maps of several strides do not fit each other: nor do they without tiles
            return False


def _stride(name: str, values: Tensor) -> int:
    rows, columns = values.shape[2:]
    if rows != columns or SIDE % rows:
        raise NotTiled(
            f"{name}: a map of {rows} x {columns} points for {SIDE} x {SIDE} pixels is on no stride"
        )
    return SIDE // rows


def _refuse_by_kind(module: nn.Module) -> None:
    for name, each in module.named_modules():
        if "Deform" in type(each).__name__:
            raise NotTiled(
                f"{name} ({type(each).__name__}) looks as far as the picture tells it to: its reach has no bound"
            )


@contextmanager
def _assumed(layers: Sequence[WholeMapLayer]) -> Iterator[None]:
    """Let layers that look at whole maps compute with mean 1/2 and variance 1, wherever they are."""
    fixed = [WholeMapLayer(layer.name, layer.groups, layer.stride) for layer in layers]
    with _Assumed(fixed):
        yield


class _Assumed(TorchFunctionMode):
    def __init__(self, layers: Sequence[WholeMapLayer]) -> None:
        super().__init__()
        self._layers = iter(layers)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = whole_map_call(func, args, kwargs or {})
        if call is None or not (layer := next(self._layers)).stride:
            return func(*args, **(kwargs or {}))
        count = call.groups or call.input.shape[1]
        layer.sums = torch.tensor([[0.5], [1.25], [1.0]], dtype=torch.float64).repeat(1, count)
        return call.compute(layer)


class _Watch(TorchFunctionMode):
    """Notes the rows of all maps and the layers that look at whole ones, in a forward pass of ``SIDE`` pixels."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.rows: set[int] = set()
        self.layers: list[WholeMapLayer] = []
        self._module = module
        self._stack: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = whole_map_call(func, args, kwargs or {})
        if call is not None:
            rows, columns = call.input.shape[2:]
            stride = SIDE // rows if rows == columns and rows > 1 and SIDE % rows == 0 else 0
            name = self._stack[-1] if self._stack else type(self._module).__name__
            self.layers.append(WholeMapLayer(name, call.groups, stride))
        result = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, F.conv2d) and result.ndim == 4:
            self.rows.add(result.shape[2])
        return result

    def _left(self) -> None:
        self._stack.pop()

    @contextmanager
    def names(self) -> Iterator[None]:
        """Within this context it is known which module runs."""
        hooks = []
        for name, each in self._module.named_modules():
            hooks.append(each.register_forward_pre_hook(lambda *_, n=name: self._stack.append(n)))
            hooks.append(each.register_forward_hook(lambda *_: self._left()))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
