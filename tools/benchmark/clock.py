"""How long a model takes for an image, apart from what the measurement itself does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Spent:
    """Seconds on the wall, and of all threads of the process on the CPU."""

    wall: float = 0.0
    cpu: float = 0.0

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu)


@dataclass
class Clock:
    """What a piece of work took: ``total`` without ``left_out``, and ``network`` of that."""

    total: Spent = field(default_factory=Spent)
    network: Spent = field(default_factory=Spent)
    left_out: Spent = field(default_factory=Spent)

    @contextmanager
    def counts(self, what: str) -> Iterator[None]:
        """Add the time within to ``total``, ``network`` or ``left_out``; the last is taken off the two others."""
        spent: Spent = getattr(self, what)
        before, begin = self._left_out(), now()
        yield
        took = now() - begin
        if what != "left_out":
            took = took - (self._left_out() - before)
        spent.wall += took.wall
        spent.cpu += took.cpu

    def _left_out(self) -> Spent:
        return Spent(self.left_out.wall, self.left_out.cpu)


def now() -> Spent:
    """Return the time of both clocks."""
    return Spent(time.perf_counter(), time.process_time())
