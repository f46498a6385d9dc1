"""Convolutions of small tiles by the kernel that the whole picture takes, so that their sums are equal bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Torch runs a convolution of one picture by itself if its input has no more numbers than this, and by oneDNN if it has
# more (ConvParams::use_mkldnn in aten/src/ATen/native/Convolution.cpp). Each gives the same sums whatever the size.
SMALL_NUMBERS = 20480


class SameKernels(TorchFunctionMode):
    """Within this context a convolution of a tile runs by the kernel that it has in the whole picture.

    Where the whole picture's input is large and the tile's is small, the tile goes in twice: torch takes the kernel of
    large inputs for any batch of more than one.

    Args:
        whole_hw: height and width of the whole picture in pixels, padding included.
        tile_hw: of what the network sees for the tile.

    Example:
        >>> values = torch.randn(1, 64, 100, 100)
        >>> convolution = torch.nn.Conv2d(64, 64, 3)
        >>> with torch.no_grad(), SameKernels((100, 100), (16, 16)):
        ...     tile = convolution(values[:, :, :16, :16])
        >>> bool((tile == convolution(values)[:, :, :14, :14]).all())
        True
    """

    def __init__(self, whole_hw: tuple[int, int], tile_hw: tuple[int, int]) -> None:
        super().__init__()
        self._times = whole_hw[0] * whole_hw[1] / (tile_hw[0] * tile_hw[1])

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.conv2d, F.conv2d):
            values = args[0] if args else kwargs["input"]
            if self._is_small_here_alone(values):
                twice = torch.cat([values, values])
                if args:
                    return func(twice, *args[1:], **kwargs)[:1]
                return func(**kwargs | {"input": twice})[:1]
        return func(*args, **kwargs)

    def _is_small_here_alone(self, values: Tensor) -> bool:
        if values.device.type != "cpu" or values.ndim != 4 or len(values) != 1:
            return False
        return values.numel() <= SMALL_NUMBERS < round(values.numel() * self._times)
