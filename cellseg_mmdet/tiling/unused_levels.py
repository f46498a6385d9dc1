"""Levels of feature maps that no region looks at are not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class UnusedLevels(TorchFunctionMode):
    """Within it, the sum of a whole level is 0.

    For the gradients of training mmdet's `SingleRoIExtractor` adds 0 times the sum of each level that none of its
    regions looks at. Of maps that lie in a file that reads all of it, for every few regions.

    Args:
        levels: of the feature maps; they are told by identity.

    Example:
        >>> level = torch.ones(1, 8, 4, 4)
        >>> with UnusedLevels([level]):
        ...     level.sum(), level[0].sum()
        (tensor(0.), tensor(128.))
    """

    def __init__(self, levels: Sequence[Tensor]) -> None:
        super().__init__()
        self._levels = levels

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        if (
            func is Tensor.sum
            and len(args) == 1
            and not kwargs
            and any(args[0] is level for level in self._levels)
        ):
            return torch.zeros((), dtype=args[0].dtype, device=args[0].device)
        return func(*args, **(kwargs or {}))
