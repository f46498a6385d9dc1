"""How far a network looks: found by following one picture's sizes through it, operator by operator.

Nothing is estimated from values: each operator that torch runs says which of its inputs a result depends on. What looks
at the whole picture at once (norms over space, global pooling, attention) has no receptive field, and is named.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tiling.operators import RULES, Grid, Unknown, WholePicture


class NotLocalError(UsageError):
    """A network whose results at a pixel depend on the whole picture, or on what cannot be told.

    Attributes:
        culprits: modules and operators that do so.
    """

    def __init__(self, message: str, culprits: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.culprits = tuple(culprits)


@dataclass(frozen=True)
class ReceptiveField:
    """What one result of a network depends on.

    Attributes:
        stride: pixels of the input by one step in the result; less than 1 for a result that is larger.
        before: pixels above and to the left that a point looks at: point k depends on the input from
            ``k * stride - before`` on.
        behind: pixels below and to the right: to ``k * stride + behind``.
        total_stride: the coarsest grid on the way: a picture may be cut at multiples of it.
        bytes_per_px: memory that the network's tensors take at their most, by pixel of the input. Those that
            operators use inside come on top.
    """

    stride: Fraction
    before: int
    behind: int
    total_stride: int
    bytes_per_px: float

    @property
    def size(self) -> int:
        """Pixels of the input that one point of the result depends on, along an axis."""
        return self.before + 1 + self.behind

    @property
    def context(self) -> tuple[int, int]:
        """Pixels before and behind a tile, as `Cover` takes them."""
        return max(self.before, 0), max(self.behind, 0)


def receptive_fields(
    network: nn.Module,
    example: Tensor | Sequence[Tensor],
    forward: Callable[..., Any] | None = None,
    strides: Sequence[int] = (),
) -> list[ReceptiveField]:
    """Return the receptive field of each result of a network, in the order in which they are nested.

    Args:
        network: in eval mode; batch norms use their own statistics then.
        example: input (1, C, H, W) of any values, H and W multiples of the total stride and at least twice of it; or
            several inputs.
        forward: what is run on the example; the network itself by default.
        strides: of the inputs, where they are features of one picture: reaches are in pixels of that picture.

    Raises:
        NotLocalError: a result depends on the whole picture, or on operators that are not known here.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(1, 1, 5, padding=2))
        >>> field, = receptive_fields(network, torch.zeros(1, 1, 16, 16))
        >>> field.before, field.behind, field.stride, field.total_stride
        (5, 6, Fraction(2, 1), 2)
    """
    inputs = [example] if isinstance(example, Tensor) else list(example)
    follower, results = _followed(network, inputs, forward, strides)
    pixels = inputs[0].shape[2] * inputs[0].shape[3] * float((strides or [1])[0]) ** 2
    return [_field(follower, tensor, follower.peak_bytes / pixels) for tensor in _tensors(results)]


def peak_bytes_per_px(
    network: nn.Module,
    example: Tensor | Sequence[Tensor],
    forward: Callable[..., Any] | None = None,
    strides: Sequence[int] = (),
) -> float:
    """Return the memory that a network's tensors take at their most, by pixel of the input; also if it is not local.

    Args:
        network: any.
        example: input (1, C, H, W) of any values; or several.
        forward: what is run on it; the network itself by default.
        strides: of the inputs, where they are features of one picture: the memory is by pixel of that picture.
    """
    inputs = [example] if isinstance(example, Tensor) else list(example)
    follower, _ = _followed(network, inputs, forward, strides)
    pixels = inputs[0].shape[2] * inputs[0].shape[3] * float((strides or [1])[0]) ** 2
    return follower.peak_bytes / pixels


def _followed(
    network: nn.Module,
    inputs: Sequence[Tensor],
    forward: Callable[..., Any] | None,
    strides: Sequence[int],
) -> tuple[_Follower, Any]:
    was_training = network.training
    network.eval()
    follower = _Follower()
    for number, tensor in enumerate(inputs):
        stride = Fraction(strides[number] if strides else 1)
        follower.begin(tensor, Grid(stride, Fraction(0), Fraction(0), stride))
    try:
        with follower.naming(network), torch.no_grad(), follower:
            results = (forward or network)(*inputs)
    finally:
        network.train(was_training)
    return follower, results


def _field(follower: _Follower, result: Tensor, bytes_per_px: float) -> ReceptiveField:
    grids = follower.grids_of(result)
    if grids is None:
        raise NotLocalError("a result of the network does not depend on its input")
    if follower.culprits:
        raise NotLocalError(
            "tiles change the result of this network: "
            + ", ".join(follower.culprits[:5])
            + (f" and {len(follower.culprits) - 5} more" if len(follower.culprits) > 5 else ""),
            follower.culprits,
        )
    rows, columns = grids
    if rows.stride != columns.stride:
        raise NotLocalError(
            f"the network's result has other strides along rows and columns, {rows.stride} and {columns.stride}"
        )
    total = max(rows.coarsest, columns.coarsest)
    return ReceptiveField(
        rows.stride,
        math.ceil(max(rows.before, columns.before)),
        math.ceil(max(rows.behind, columns.behind)),
        math.ceil(total),
        bytes_per_px,
    )


def _tensors(results: Any) -> Iterator[Tensor]:
    if isinstance(results, Tensor):
        yield results
    elif isinstance(results, dict):
        for value in results.values():
            yield from _tensors(value)
    elif isinstance(results, list | tuple):
        for value in results:
            yield from _tensors(value)


class _Follower(TorchDispatchMode):
    """Watches operators: keeps what each tensor depends on, and how much memory all of them take."""

    def __init__(self) -> None:
        super().__init__()
        self.culprits: list[str] = []
        self.peak_bytes = 0
        self._bytes = 0
        self._grids: dict[int, tuple[weakref.ref, tuple[Grid, Grid]]] = {}
        self._owners: dict[int, tuple[int, int]] = {}  # of a storage: live tensors, bytes
        self._modules: list[str] = []

    def begin(self, tensor: Tensor, grid: Grid) -> None:
        self._keep(tensor, (grid, grid))

    def grids_of(self, tensor: Any) -> tuple[Grid, Grid] | None:
        kept = self._grids.get(id(tensor))
        return kept[1] if kept is not None and kept[0]() is tensor else None

    @contextmanager
    def naming(self, network: nn.Module) -> Iterator[None]:
        """Know in which module of the network an operator runs."""
        handles = []
        for name, module in network.named_modules():
            label = f"{type(module).__name__} {name}".strip()

            def enter(*_: Any, label: str = label) -> None:
                self._modules.append(label)

            def leave(*_: Any) -> None:
                self._modules.pop()

            handles += [
                module.register_forward_pre_hook(enter),
                module.register_forward_hook(leave, always_call=True),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = [tensor for tensor in _tensors(result) if tensor.dim() > 0]
        for tensor in made:
            self._count(tensor)
        seen = list(_tensors([*args, *kwargs.values()]))
        if any(self.grids_of(tensor) is not None for tensor in seen) and made:
            name = func.__name__.partition(".")[0]
            try:
                grids = self._ruled(name, func, args, kwargs, made)
            except (WholePicture, Unknown) as error:
                self._accuse(name, error)
                grids = next(g for g in map(self.grids_of, seen) if g is not None)
            for tensor in made:
                self._keep(tensor, grids)
        return result

    def _ruled(
        self, name: str, func: Any, args: Sequence[Any], kwargs: Any, made: Sequence[Tensor]
    ) -> tuple[Grid, Grid]:
        rule = RULES.get(name.rstrip("_"))
        if rule is None:
            raise Unknown
        given = {
            argument.name: argument.default_value
            for argument in func._schema.arguments
            if argument.has_default_value()
        }
        named = [argument.name for argument in func._schema.arguments]
        given |= dict(zip(named, args, strict=False)) | kwargs
        parts = [
            (tensor, grids)
            for tensor in _tensors(list(given.values()))
            if (grids := self.grids_of(tensor)) is not None
        ]
        shape = parts[0][0].shape
        if len(shape) != 4:
            raise Unknown
        found = []
        for axis in (0, 1):
            grid = parts[0][1][axis]
            for _, others in parts[1:]:
                grid = grid.joined(others[axis])
            after = rule(grid, axis, given, shape, made[0].shape)
            found.append(replace(after, coarsest=max(after.coarsest, after.stride)))
        return found[0], found[1]

    def _accuse(self, name: str, error: Exception) -> None:
        where = self._modules[-1] if self._modules else "the network"
        what = "sees the whole picture" if isinstance(error, WholePicture) else "is not known"
        told = f"{where} ({name} {what})"
        if told not in self.culprits:
            self.culprits.append(told)

    def _keep(self, tensor: Tensor, grids: tuple[Grid, Grid]) -> None:
        key = id(tensor)
        self._grids[key] = (weakref.ref(tensor), grids)

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        live, _ = self._owners.get(key, (0, size))
        if not live:
            self._bytes += size
            self.peak_bytes = max(self.peak_bytes, self._bytes)
        self._owners[key] = (live + 1, size)
        weakref.finalize(tensor, self._release, key)

    def _release(self, key: int) -> None:
        live, size = self._owners.get(key, (0, 0))
        if live > 1:
            self._owners[key] = (live - 1, size)
        elif live == 1:
            self._bytes -= size
            del self._owners[key]
