"""Against mmcv's compiled operators, where an mmcv with them is installed."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from cellseg_mmdet.ops import compiled_file


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """Return mmcv's compiled module, also where the stand-in is in use."""
    file = compiled_file()
    if not file:
        pytest.skip("mmcv is installed without compiled operators: nothing to compare with")
    import torch  # noqa: F401  its libraries have to be there first

    spec = importlib.util.spec_from_file_location("mmcv._ext", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
