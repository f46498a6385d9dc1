"""The module ``mmcv._ext`` where mmcv was installed without its compiled one.

``mmcv/ops/*.py`` fetch every operator from ``mmcv._ext`` while they are imported, by name. A finder at the end of
``sys.meta_path`` answers when no compiled module does. Nothing is loaded until an operator is called.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

NAME = "mmcv._ext"
VARIABLE = "CELLSEG_OPS"
CHOICES = ("portable", "compiled")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes the stand-in."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != NAME:
            return None
        return importlib.machinery.ModuleSpec(NAME, self, origin=__name__)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Operators(NAME, "Stand-in for mmcv's compiled operators.")

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Operators(ModuleType):
    """A module that has every operator; one that is not written says so when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from cellseg_mmdet.ops.dispatch import Operator

        operator = Operator(name)
        setattr(self, name, operator)
        return operator


FINDER = _Finder()


def install() -> None:
    """Make ``mmcv._ext`` importable where it is not; called when the package is imported.

    ``CELLSEG_OPS=portable`` puts the stand-in before a compiled module, ``compiled`` leaves it out. A second call
    changes nothing.

    Raises:
        ImportError: on another value of ``CELLSEG_OPS``.
    """
    choice = chosen()
    if FINDER in sys.meta_path:
        return
    if choice == "portable":
        sys.meta_path.insert(0, FINDER)
    elif choice != "compiled":
        sys.meta_path.append(FINDER)


def chosen() -> str:
    """Return the value of ``CELLSEG_OPS``: ``portable``, ``compiled`` or, where it is not set, ''."""
    choice = os.environ.get(VARIABLE, "")
    if choice and choice not in CHOICES:
        raise ImportError(f"{VARIABLE}={choice!r} is not one of {', '.join(CHOICES)}")
    return choice


def in_use() -> str:
    """Return which operators mmcv has in this process: ``portable``, ``compiled``, or '' without mmcv.

    Where both could serve, what was imported first counts. Nothing is imported.
    """
    module = sys.modules.get(NAME)
    if module is not None:
        return "portable" if isinstance(module, _Operators) else "compiled"
    if importlib.util.find_spec("mmcv") is None:
        return ""
    for finder in sys.meta_path:
        if finder is FINDER:
            return "portable"
        if finder is importlib.machinery.PathFinder and compiled_file():
            return "compiled"
    return ""


def compiled_file() -> str:
    """Return the path of the compiled ``mmcv._ext``, or '' where mmcv has none. Imports nothing."""
    package = importlib.util.find_spec("mmcv")
    places = package.submodule_search_locations if package else None
    spec = importlib.machinery.PathFinder.find_spec(NAME, places) if places else None
    return (spec.origin or "") if spec else ""
