from __future__ import annotations

import pytest
import torch

from tests.ops.stand_ins import use_portable


@pytest.fixture
def portable(monkeypatch):
    """Let mmcv's Python call our operators."""
    use_portable(monkeypatch)


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    """Run a test with several numbers of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
