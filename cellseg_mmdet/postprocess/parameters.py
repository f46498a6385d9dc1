"""Parameters of steps: checks, and values that may differ per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, integer: bool = False
) -> None:
    """Raise ValueError unless ``value`` is a number (an integer) from ``low`` to ``high``."""
    kinds = (int,) if integer else (int, float)
    # bool is an int to Python, and score_thr=True a slip.
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "an integer" if integer else "a number"
        bound = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ValueError(f"{name}={value!r}: must be {kind} {bound}")


class PerClass:
    """A number for all classes, or a dict with one number for each class name.

    Raises:
        ValueError: if the dict names a class that does not exist, or leaves one out, or if a value
            is out of range.
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
            raise ValueError(f"{name} has a value per class, but the class names are not known")
        if set(value) != set(classes):
            raise ValueError(
                f"{name} needs a value for each of the classes {list(classes)}; found {list(value)}"
            )
        for class_name, number in value.items():
            check_number(f"{name}[{class_name!r}]", number, low, high, integer=integer)
        self._values = np.array([value[class_name] for class_name in classes])

    def of(self, labels: np.ndarray) -> np.ndarray | float:
        """Return the value of each label (N,), or the one value for all."""
        return self._values[labels] if isinstance(self._values, np.ndarray) else self._values
