from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner, load_checkpoint
from torch.utils.data import Dataset

from cellseg_mmdet.engine import checkpoint as module
from cellseg_mmdet.engine.checkpoint import (
    CheckpointError,
    UnsafeCheckpointError,
    read_checkpoint,
    register_checkpoint_loaders,
)


@pytest.fixture(autouse=True)
def safe_loaders():
    register_checkpoint_loaders()
    yield
    register_checkpoint_loaders()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def bomb(request, tmp_path: Path) -> tuple[Path, Path]:
    """Return a checkpoint with weights and a bomb in it, and what the bomb would make."""
    path, marker = tmp_path / "bomb.pth", tmp_path / "exploded"
    content = {"state_dict": {"weight": torch.ones(2)}, "meta": Bomb(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path, marker


class Numbers(Dataset):
    metainfo: ClassVar = {"classes": ("cell",), "palette": [(0, 158, 115)]}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.full((1,), float(index))}


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, x, mode="tensor"):
        return {"loss": self.linear(x).square().mean()}


def line_runner(work_dir: Path, max_epochs: int, **kwargs) -> Runner:
    """A real Runner whose checkpoints hold all that mmengine puts into them."""
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        cfg=Config({"model_name": "line"}),
        train_dataloader={
            "dataset": Numbers(),
            "batch_size": 2,
            "collate_fn": {"type": "default_collate"},
            "sampler": {"type": "DefaultSampler", "shuffle": False},
        },
        train_cfg={"by_epoch": True, "max_epochs": max_epochs},
        optim_wrapper={
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 0.1},
            "paramwise_cfg": {"custom_keys": {"bias": {"lr_mult": 0.5}}},
        },
        param_scheduler=[
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 2},
            {"type": "MultiStepLR", "milestones": [1, 2], "by_epoch": True},
        ],
        default_hooks={"logger": {"type": "LoggerHook", "interval": 1}},
        experiment_name=f"{work_dir.name}_{max_epochs}_{len(kwargs)}",
        **kwargs,
    )


def test_a_runner_resumes_its_own_checkpoint(tmp_path: Path):
    first = line_runner(tmp_path / "run", max_epochs=1)
    first.message_hub.update_info("best", np.float64(0.25))
    first.train()

    checkpoint = str(tmp_path / "run" / "epoch_1.pth")
    second = line_runner(tmp_path / "again", max_epochs=2, load_from=checkpoint, resume=True)
    second.load_or_resume()

    assert (second.epoch, second.iter) == (1, 2)
    assert torch.equal(second.model.linear.weight, first.model.linear.weight)
    assert second.message_hub.get_info("best") == 0.25
    assert second.message_hub.get_scalar("train/loss").data[0].shape == (2,)
    state = next(iter(second.optim_wrapper.state_dict()["state"].values()))
    assert state["step"] == 2
    second.train()
    assert second.iter == 4


@pytest.mark.parametrize(
    "value",
    [np.bool_(True), np.int64(3), np.float32(0.5), np.float64(0.5), np.arange(3), np.ones((2, 3))],
    ids=lambda value: f"{type(value).__name__}-{value.dtype}",
)
def test_numpy_numbers_and_arrays_come_back(tmp_path: Path, value):
    torch.save({"info": value}, tmp_path / "x.pth")

    loaded = read_checkpoint(tmp_path / "x.pth")["info"]

    np.testing.assert_array_equal(loaded, value)
    assert loaded.dtype == value.dtype


@pytest.mark.parametrize(
    ("old", "new"), [("numpy._core", "numpy.core"), ("numpy.core", "numpy._core")]
)
def test_arrays_of_either_numpy_generation_come_back(tmp_path: Path, old: str, new: str):
    torch.save({"x": np.arange(3)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "y.pth").write_bytes(content.replace(f"c{old}.".encode(), f"c{new}.".encode()))

    assert read_checkpoint(tmp_path / "y.pth")["x"].tolist() == [0, 1, 2]


def test_a_history_buffer_keeps_its_statistics(tmp_path: Path):
    torch.save({"loss": HistoryBuffer([1.0, 3.0], [1, 1])}, tmp_path / "x.pth")

    assert read_checkpoint(tmp_path / "x.pth")["loss"].statistics("mean") == 2.0


def test_code_in_a_checkpoint_is_refused_and_not_run(bomb: tuple[Path, Path]):
    path, marker = bomb

    with pytest.raises(
        UnsafeCheckpointError, match=r"bomb\.pth is refused.*mkdir.*--trust-checkpoint"
    ):
        load_checkpoint(torch.nn.Linear(1, 2), str(path))

    assert not marker.exists()


def test_a_trusted_checkpoint_may_run_code(bomb: tuple[Path, Path]):
    path, marker = bomb
    register_checkpoint_loaders(trust=True)

    checkpoint = load_checkpoint(torch.nn.Linear(1, 2), str(path))

    assert marker.is_dir()
    assert checkpoint["state_dict"]["weight"].tolist() == [1, 1]


def test_every_forbidden_name_is_reported(tmp_path: Path):
    torch.save({"a": Path("x"), "b": pytest.approx}, tmp_path / "x.pth")

    with pytest.raises(UnsafeCheckpointError) as refusal:
        read_checkpoint(tmp_path / "x.pth")

    assert f"{type(Path()).__module__}.{type(Path()).__name__}" in str(refusal.value)
    assert f"{pytest.approx.__module__}.approx" in str(refusal.value)


class Reach:
    """Asks ``getattr`` for more than the statistics of a history buffer."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    "arguments", [(HistoryBuffer, "__init__"), (np.ndarray, "tofile")], ids=["private", "other"]
)
def test_getattr_reaches_statistics_only(tmp_path: Path, arguments: tuple[object, str]):
    torch.save({"x": Reach(*arguments)}, tmp_path / "x.pth")

    with pytest.raises(UnsafeCheckpointError, match="getattr"):
        read_checkpoint(tmp_path / "x.pth")


def test_pretrained_backbones_are_read_safely(bomb: tuple[Path, Path]):
    path, marker = bomb
    backbone = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 2}
    model = MODELS.build(backbone | {"init_cfg": {"type": "Pretrained", "checkpoint": str(path)}})

    with pytest.raises(UnsafeCheckpointError):
        model.init_weights()

    assert not marker.exists()


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_off_file_is_named(tmp_path: Path, new_format: bool, share: float):
    path = tmp_path / "whole.pth"
    weights = {f"layer{i}.weight": torch.rand(10, 10) for i in range(20)}
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=new_format)
    content = path.read_bytes()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(CheckpointError, match=r"cut\.pth .*\d+ bytes.*incomplete") as error:
        read_checkpoint(cut)

    assert not isinstance(error.value, UnsafeCheckpointError)


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "it is empty"), (b"<!DOCTYPE html><html>", "<!DOCTYPE html>")],
    ids=["empty", "web page"],
)
def test_what_is_no_checkpoint_is_said(tmp_path: Path, content: bytes, found: str, trust: bool):
    (tmp_path / "x.pth").write_bytes(content)

    with pytest.raises(
        CheckpointError, match=rf"x\.pth is not a file that torch\.save wrote.*{found}"
    ):
        read_checkpoint(tmp_path / "x.pth", trust=trust)


def test_a_plain_pickle_is_refused(tmp_path: Path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"weight": Bomb(tmp_path / "exploded")}))

    with pytest.raises(CheckpointError, match=r"x\.pth"):
        read_checkpoint(tmp_path / "x.pth")

    assert not (tmp_path / "exploded").exists()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth: there is no such file"):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / "none.pth"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mmdet://faster_rcnn", "mmdet:// is not known.*torchvision://"),
        ("torchvision://resnet51", "no such model.*resnet50"),
        ("s3://bucket/x.pth", "not supported, copy the file here"),
        ("pavi://x", "not supported, copy the file here"),
    ],
)
def test_unknown_sources_are_explained(name: str, message: str):
    with pytest.raises(CheckpointError, match=f"{name}.*{message}"):
        load_checkpoint(torch.nn.Linear(1, 1), name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("https://example.org/a/b.pth?x=1", "b.pth?x=1"),
        ("torchvision://resnet50", "resnet50-0676ba61.pth"),
        ("open-mmlab://resnest50", "resnest50_d2-7497a55b.pth"),
    ],
)
def test_weights_by_name_are_downloaded_once_and_read_safely(tmp_path, monkeypatch, name, file):
    fetched = []

    def fetch(address: str, path: str, *_: object) -> None:
        fetched.append(address)
        torch.save({"weight": torch.ones(1, 1), "bias": torch.zeros(1)}, path)

    monkeypatch.setattr(module.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(module.torch.hub, "download_url_to_file", fetch)
    model = torch.nn.Linear(1, 1)
    for _ in range(2):
        load_checkpoint(model, name)

    assert model.weight.item() == 1
    assert len(fetched) == 1
    assert fetched[0].rpartition("/")[2] == file


def test_a_refused_download_is_named_by_url_and_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module.torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(Bomb(tmp_path / "exploded"), tmp_path / "checkpoints" / "b.pth")

    with pytest.raises(
        UnsafeCheckpointError, match=r"https://example\.org/b\.pth \(downloaded to "
    ):
        load_checkpoint(torch.nn.Linear(1, 1), "https://example.org/b.pth")

    assert not (tmp_path / "exploded").exists()


def test_a_failed_download_is_named(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(module.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(module.torch.hub, "download_url_to_file", fail)

    with pytest.raises(CheckpointError, match=r"https://example\.org/b\.pth.*no route to host"):
        load_checkpoint(torch.nn.Linear(1, 1), "https://example.org/b.pth")


def test_a_classifier_gives_its_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(module.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(module, "get_mmcls_models", lambda: {"tiny": "https://example.org/t.pth"})
    (tmp_path / "checkpoints").mkdir()
    weights = {"backbone.weight": torch.ones(1, 1), "head.weight": torch.zeros(1, 1)}
    torch.save({"state_dict": weights}, tmp_path / "checkpoints" / "t.pth")

    checkpoint = load_checkpoint(torch.nn.Linear(1, 1), "mmcls://tiny")

    assert list(checkpoint["state_dict"]) == ["weight"]
