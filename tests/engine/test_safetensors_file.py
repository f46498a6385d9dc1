from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from cellseg_mmdet import config_files
from cellseg_mmdet.engine import register_checkpoint_loaders
from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.engine.safetensors_file import write_safetensors
from cellseg_mmdet.engine.weights import load_weights
from cellseg_mmdet.errors import CheckpointError

META = {"dataset_meta": {"classes": ["a", "b"]}, "z": 1, "a": 2}


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(4, 3, generator=generator),
        "bias": torch.tensor([1e-7, 7e4, 1 / 3]),
        "count": torch.tensor(5),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_safetensors(tmp_path / "a.safetensors", weights(), META)
    return tmp_path / "a.safetensors"


def test_what_is_written_is_read(path: Path) -> None:
    content = read_checkpoint(path, "cpu")
    assert content["meta"] == META
    assert set(content["state_dict"]) == set(weights())
    for key, value in weights().items():
        assert torch.equal(content["state_dict"][key], value)
        assert content["state_dict"][key].dtype == value.dtype


def test_half_precision_is_of_kernels_alone_and_comes_back_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    write_safetensors(path, weights(), half=True)
    found = read_checkpoint(path)["state_dict"]
    assert found["weight"].dtype == torch.float32
    assert torch.equal(found["weight"], weights()["weight"].half().float())
    assert torch.equal(found["bias"], weights()["bias"])
    # Storing again what was read changes nothing.
    write_safetensors(tmp_path / "again.safetensors", found, half=True)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_what_half_precision_cannot_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weight kernel holds values beyond 65504"):
        write_safetensors(
            tmp_path / "a.safetensors", {"kernel": torch.full((1, 1), 7e4)}, half=True
        )
    assert not list(tmp_path.iterdir())


def test_the_same_tensors_in_another_order_are_the_same_bytes(path: Path, tmp_path: Path) -> None:
    other = dict(reversed(weights().items()))
    write_safetensors(tmp_path / "b.safetensors", other, dict(reversed(META.items())))
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 20, -1], ids=["nothing", "length", "header", "last byte"])
def test_a_file_that_is_cut_off(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        CheckpointError, match=r"a\.safetensors \(\d+ bytes\) cannot be read as safet"
    ):
        read_checkpoint(path)


def test_damage_anywhere_is_told_or_of_numbers_alone(path: Path) -> None:
    content, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_other_short_numbers_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file({"a": torch.ones(3).to(dtype)}, tmp_path / "a.safetensors")
    found = read_checkpoint(tmp_path / "a.safetensors")["state_dict"]["a"]
    assert found.dtype == torch.float32 and torch.equal(found, torch.ones(3))


def test_a_file_of_others_and_of_another_name(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "weights.bin", metadata={"format": "pt"})
    content = read_checkpoint(tmp_path / "weights.bin")
    assert content["meta"] == {} and torch.equal(content["state_dict"]["count"], torch.tensor(5))


def test_it_is_held_against_the_model_as_any_checkpoint(path: Path) -> None:
    content = CheckpointLoader.load_checkpoint(str(path), map_location="cpu", logger="silent")
    with pytest.raises(CheckpointError, match=r"does not fit the model .* mismatch for bias"):
        load_weights(torch.nn.Linear(3, 4), content, str(path))
    broken = {"weight": torch.full((4, 3), float("inf")), "bias": torch.zeros(4)}
    write_safetensors(path, broken)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: 1 of 2 weights hold infinite"):
        load_weights(torch.nn.Linear(3, 4), read_checkpoint(path), str(path))


def test_the_weights_of_a_shipped_model_by_their_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = path.parent / "shipped" / "dots"
    folder.mkdir(parents=True)
    path.rename(folder / "weights.safetensors")
    monkeypatch.setattr(config_files, "MODELS", folder.parent)
    register_checkpoint_loaders()
    content = CheckpointLoader.load_checkpoint("shipped://dots", "cpu", logger="silent")
    assert content["meta"] == META
    with pytest.raises(CheckpointError, match=r"shipped://blobs: no such model, known are dots"):
        CheckpointLoader.load_checkpoint("shipped://blobs", "cpu", logger="silent")
