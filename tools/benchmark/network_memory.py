"""What a network made of the picture that it saw last: other thresholds change no map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class NetworkMemory:
    """Runs a network once for each input of a picture, or, if it is not ``is_on``, each time.

    Example:
        >>> memory = NetworkMemory(is_on=True)
        >>> picture = np.ones(2)
        >>> for _ in range(2):
        ...     memory.look_at(picture)
        ...     maps = memory.maps_of(picture, lambda: print("runs"))
        runs
    """

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on
        self._picture: np.ndarray | None = None
        self._kept: dict[tuple[tuple[int, ...], bytes], Any] = {}

    def look_at(self, picture: np.ndarray) -> None:
        """Forget what was made of another picture."""
        if picture is not self._picture:
            self._kept.clear()
        self._picture = picture

    def maps_of(self, inputs: Any, run: Callable[[], Any]) -> Any:
        """Return what ``run`` returns for an input, an array or a tensor on the CPU."""
        if not self.is_on:
            return run()
        array = np.asarray(inputs)
        key = array.shape, array.tobytes()
        if key not in self._kept:
            self._kept[key] = run()
        return self._kept[key]
