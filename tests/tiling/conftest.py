from __future__ import annotations

import pytest
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True, scope="package")
def mmdet_scope() -> None:
    init_default_scope("mmdet")
