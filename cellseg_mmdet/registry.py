"""A table of parts by name, filled by a decorator where each part is written."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from cellseg_mmdet.errors import ConfigError

Part = TypeVar("Part")
Registered = TypeVar("Registered", bound=Callable[..., Any])


class Registry(Generic[Part]):
    """Parts of one kind by their name.

    MMDetection's registries need torch; the parts of this project that do without it are kept in
    these.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Callable[..., Part]] = {}

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that enters a class, or a function that builds, under ``name``."""
        if name in self._parts:
            raise ValueError(f"there is a {self.kind} {name!r} already: {self._parts[name]!r}")

        def enter(part: Registered) -> Registered:
            self._parts[name] = part
            return part

        return enter

    def get(self, name: str) -> Callable[..., Part]:
        """Return what is registered under ``name``.

        Raises:
            ConfigError: if nothing is; the message lists the names there are.
        """
        if name not in self._parts:
            raise ConfigError(f"unknown {self.kind} {name!r}; there are {', '.join(self.names())}")
        return self._parts[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._parts)


def import_siblings(package: str, paths: Iterable[str]) -> None:
    """Import every module of a package, so that a new part is one new file and no list names it."""
    for module in pkgutil.iter_modules(paths):
        importlib.import_module(f"{package}.{module.name}")
