"""mmcv's compiled operators, where they are installed, whatever stands in for them in this process."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from types import ModuleType

import pytest


@cache
def find() -> ModuleType | str:
    """Return the compiled module, or why there is none."""
    package = PathFinder.find_spec("mmcv")
    if package is None:
        return "mmcv is not installed"
    spec = PathFinder.find_spec("mmcv._ext", package.submodule_search_locations)
    if spec is None or not (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES)):
        return "mmcv's operators are not compiled in this environment"
    import torch  # noqa: F401  (the extension is linked to its libraries)

    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def compiled() -> ModuleType:
    """Return the compiled module, or skip the test with the reason."""
    module = find()
    if isinstance(module, str):
        pytest.skip(module)
    return module
