from __future__ import annotations

from pathlib import Path

import pytest

from cellseg_mmdet import config_files
from tests.shipped.tiny import write_tiny
from tools.models.pack import pack


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that ship, in which there is one, ``tiny``."""
    folder = tmp_path_factory.mktemp("packed")
    config, checkpoint, facts = write_tiny(folder)
    pack(checkpoint, config, "tiny", facts=facts, half=True, out_dir=folder / "shipped")
    return folder / "shipped"


@pytest.fixture
def shipped(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the package bring the models of `packed`, and no others."""
    monkeypatch.setattr(config_files, "MODELS", packed)
    return packed
