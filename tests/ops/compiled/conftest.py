"""Against mmcv's compiled operators, where an mmcv with them is installed."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.ops.compiled import extension


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """Return mmcv's compiled module, also where the stand-in is in use."""
    return extension.compiled()
