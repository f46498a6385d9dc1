from __future__ import annotations

import sys

import pytest

from tools.environment.layout import Layout

REQUIREMENTS = """\
torch==2.13.0
torchvision==0.28.0
onedl-mmcv==2.3.6
numpy==2.2.6
wheel==1
packaging==1
ninja==1
"""


@pytest.fixture(autouse=True)
def no_choice_of_operators(monkeypatch):
    """What the machine has set for its own set-up is not the tests'."""
    monkeypatch.delenv("OPS", raising=False)


@pytest.fixture
def checkout(tmp_path) -> Layout:
    """A checkout whose environment exists and holds torch and mmcv, by their names alone."""
    made = Layout(tmp_path)
    site = tmp_path / ".venv/lib/python3.11/site-packages"
    for info in ("torch-2.13.0+cpu.dist-info", "onedl_mmcv-2.3.6.dist-info"):
        (site / info).mkdir(parents=True)
    made.python.parent.mkdir()
    made.python.symlink_to(sys.executable)
    made.build.mkdir()
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    return made
