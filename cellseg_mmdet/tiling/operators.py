"""What the result of each of torch's operators depends on, along one axis of a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any


class WholePicture(Exception):
    """An operator whose result at a pixel depends on all pixels."""


class Unknown(Exception):
    """An operator, or a use of it, that has no rule here."""


@dataclass(frozen=True)
class Grid:
    """Along one axis, which pixels of a network's input the points of a tensor depend on.

    Point k depends on pixels ``k * stride - before`` to ``k * stride + behind`` at most.

    Attributes:
        stride: pixels of the input by one step.
        before: see above; negative for a grid that begins behind the input's first pixel.
        behind: see above.
        coarsest: the largest stride on the way here.
    """

    stride: Fraction
    before: Fraction
    behind: Fraction
    coarsest: Fraction

    def looking(self, first: Fraction | int, last: Fraction | int, step: Fraction | int) -> Grid:
        """Return the grid of results of which number j depends on points ``j * step + first`` to ``j * step + last``.

        Example:
            >>> one = Fraction(1)
            >>> Grid(one, 0 * one, 0 * one, one).looking(-1, 1, 2)
            Grid(stride=Fraction(2, 1), before=Fraction(1, 1), behind=Fraction(1, 1), coarsest=Fraction(1, 1))
        """
        return replace(
            self,
            stride=self.stride * step,
            before=self.before - first * self.stride,
            behind=self.behind + last * self.stride,
        )

    def joined(self, other: Grid) -> Grid:
        """Return the grid of what depends on this and another one, point by point.

        Raises:
            Unknown: their steps differ.
        """
        if self.stride != other.stride:
            raise Unknown
        return replace(
            self,
            before=max(self.before, other.before),
            behind=max(self.behind, other.behind),
            coarsest=max(self.coarsest, other.coarsest),
        )


# (grid of the inputs, axis 0 for rows and 1 for columns, arguments by name, shape before, shape after) -> grid
Rule = Callable[[Grid, int, Mapping[str, Any], Sequence[int], Sequence[int]], Grid]
RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of operators, by their names with spaces between."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(" ".join(names).split(), rule))
        return rule

    return register


def _of(value: Any, axis: int) -> int:
    """Return an argument of one axis, of a number for both or a list of one or two."""
    if isinstance(value, int):
        return value
    return int(value[axis] if len(value) > 1 else value[0])


def _is_spatial(dim: int) -> bool:
    return dim % 4 in (2, 3)


@_rule(
    "relu hardtanh sigmoid silu gelu hardswish hardsigmoid leaky_relu elu tanh mish softplus threshold",
    "add sub rsub mul div neg exp log sqrt rsqrt pow abs square clamp clamp_min clamp_max reciprocal",
    "maximum minimum where eq ne lt le gt ge logical_not logical_and logical_or",
    "clone contiguous _to_copy copy detach alias lift_fresh dropout native_dropout empty_like zeros_like",
    "ones_like full_like fill _prelu_kernel prelu sign",
)
def _pointwise(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    if before[2 + axis] != after[2 + axis]:
        raise Unknown  # one row that is repeated for all
    return grid


@_rule("_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")
@_rule("_native_batch_norm_legit", "miopen_batch_norm", "_batch_norm_with_update")
def _batch_norm(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    if given.get("training"):
        raise WholePicture  # statistics of the picture itself
    return grid


@_rule("native_group_norm", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
@_rule("bmm", "mm", "addmm", "_scaled_dot_product_flash_attention_for_cpu")
@_rule("_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention")
@_rule("_fft_r2c", "roll", "flip", "_fused_sdp_choice", "sort", "topk", "nonzero")
def _whole(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    raise WholePicture


@_rule("native_layer_norm")
def _layer_norm(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    raise WholePicture  # over the last axes of (B, C, H, W)


@_rule("mean sum amax amin max min argmax var std cumsum prod logsumexp _softmax _log_softmax")
def _reduction(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    dims = given.get("dim")
    if dims is None or dims == []:
        raise WholePicture
    if any(map(_is_spatial, [dims] if isinstance(dims, int) else dims)):
        raise WholePicture
    if len(after) != 4:
        raise Unknown
    return grid


@_rule("cat", "split", "split_with_sizes", "chunk", "narrow", "index_select")
def _along_channels(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    if _is_spatial(given.get("dim") or 0):
        raise Unknown
    return grid


@_rule("view", "_unsafe_view", "reshape", "expand", "_reshape_alias", "as_strided")
def _shape(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    if len(after) != 4 or tuple(after[2:]) != tuple(before[2:]):
        raise WholePicture  # pixels are put in a row, for what looks at all of them
    return grid


@_rule("slice")
def _slice(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    if given["dim"] % 4 != 2 + axis:
        return grid
    start = given.get("start") or 0
    start += before[2 + axis] if start < 0 else 0
    return grid.looking(start, start, given.get("step") or 1)


@_rule("constant_pad_nd", "reflection_pad2d", "replication_pad2d")
def _pad(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    pad = [*(given.get("pad") or given.get("padding")), 0, 0, 0, 0]
    shift = pad[2 - 2 * axis]  # (left, right, top, bottom)
    return grid.looking(-shift, -shift, 1)


@_rule("convolution", "cudnn_convolution", "mkldnn_convolution", "miopen_convolution")
@_rule("convolution_overrideable", "miopen_depthwise_convolution", "_conv_depthwise2d")
def _convolution(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    kernel = given["weight"].shape[2 + axis]
    step, padding = _of(given["stride"], axis), _of(given["padding"], axis)
    span = _of(given["dilation"], axis) * (kernel - 1)
    if given.get("transposed"):
        # Point i gives to results i * step - padding + (0 .. span).
        return grid.looking(
            Fraction(padding - span, step), Fraction(padding, step), Fraction(1, step)
        )
    return grid.looking(-padding, span - padding, step)


@_rule("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "mkldnn_max_pool2d")
def _pool(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    kernel = _of(given["kernel_size"], axis)
    step = _of(given["stride"], axis) if given.get("stride") else kernel
    padding = _of(given.get("padding") or 0, axis)
    span = _of(given.get("dilation") or 1, axis) * (kernel - 1)
    return grid.looking(-padding, span - padding, step)


def _step(axis: int, before: Sequence[int], after: Sequence[int]) -> Fraction:
    """Return the points before by one point behind of a change of size, which has to be by a whole factor."""
    step = Fraction(before[2 + axis], after[2 + axis])
    if step.numerator != 1 and step.denominator != 1:
        raise Unknown
    return step


@_rule("upsample_nearest2d", "_upsample_nearest_exact2d")
def _nearest(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    step = _step(axis, before, after)
    # floor(j step), or of the exact one floor((j + 1/2) step).
    return grid.looking(step - 1 if step < 1 else 0, 0 if step < 1 else step - 1, step)


@_rule("upsample_bilinear2d")
def _bilinear(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    return _interpolated(grid, axis, given, before, after, reach=1)


@_rule("upsample_bicubic2d")
def _bicubic(grid: Grid, axis: int, given: Any, before: Any, after: Any) -> Grid:
    return _interpolated(grid, axis, given, before, after, reach=2)


def _interpolated(grid: Grid, axis: int, given: Any, before: Any, after: Any, reach: int) -> Grid:
    if given.get("align_corners"):
        raise WholePicture  # where a pixel lies depends on the size of the picture
    step = _step(axis, before, after)
    if step == 1:
        return grid
    # Of the points around (j + 1/2) step - 1/2, of whose fraction this is the least and the most, for step 1 / n and n.
    middle = (step - 1) / 2
    least = step / 2 if step < 1 and step.denominator % 2 == 0 else Fraction(0)
    most = 1 - step + least if step < 1 else Fraction(1, 2)
    return grid.looking(middle - most - (reach - 1), middle - least + reach, step)
