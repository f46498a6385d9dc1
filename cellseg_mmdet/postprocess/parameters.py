"""Parameters of steps: checks, values that may differ per class, and where to search for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellseg_mmdet.errors import ConfigError

DEFAULT = "default"


@dataclass(frozen=True)
class Tunable:
    """A parameter of a step that is worth a search, and where: from ``low`` to ``high``, both included.

    It takes one number, or a dict from class name to number.

    Attributes:
        log: search in steps of equal ratio instead of equal difference.
        integer: only integers are allowed.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, integer: bool = False
) -> None:
    """Raise ValueError unless ``value`` is a number (an integer) from ``low`` to ``high``."""
    kinds = (int,) if integer else (int, float)
    # bool is an int to Python, and score_thr=True a slip.
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "an integer" if integer else "a number"
        bound = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ConfigError(f"{name}={value!r}: must be {kind} {bound}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{name}={value!r}: must be one of {', '.join(map(repr, choices))}")


class PerClass:
    """A number for all classes, or a dict from class name to number.

    The dict names every class, or has a ``'default'`` for those that it does not name.

    Raises:
        ConfigError: if the dict names a class that does not exist, or leaves one out and has no
            default, or if a value is out of range.
    """

    def __init__(
        self,
        name: str,
        value: float | Mapping[str, float],
        classes: Sequence[str] | None,
        *,
        low: float,
        high: float = math.inf,
        integer: bool = False,
    ) -> None:
        if not isinstance(value, Mapping):
            check_number(name, value, low, high, integer=integer)
            self._values: np.ndarray | float = value
            return
        if classes is None:
            raise ConfigError(f"{name} has a value per class, but the class names are not known")
        unknown = set(value) - {*classes, DEFAULT}
        if unknown or not (DEFAULT in value or set(classes) <= set(value)):
            raise ConfigError(
                f"{name} needs a value for each of the classes {list(classes)}, "
                f"or a {DEFAULT!r} for those it does not name; found {list(value)}"
            )
        for key, number in value.items():
            check_number(f"{name}[{key!r}]", number, low, high, integer=integer)
        self._values = np.array([value.get(key, value.get(DEFAULT)) for key in classes])

    def of(self, labels: np.ndarray) -> np.ndarray:
        """Return the value of each label (N,)."""
        if isinstance(self._values, np.ndarray):
            return self._values[labels]
        return np.full(len(labels), self._values)
