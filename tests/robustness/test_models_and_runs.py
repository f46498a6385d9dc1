"""Weights, configs and records of runs that are odd: found by scenarios run as users would."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from cellseg_mmdet import load_model, read_image
from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.engine.weights import load_weights
from cellseg_mmdet.errors import CellsegError, CheckpointError, ConfigError, UsageError
from cellseg_mmdet.images.intensity import build_intensity
from cellseg_mmdet.images.scale import ScaleChoice
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference import ModelSpec
from cellseg_mmdet.inference.record import RunRecord
from cellseg_mmdet.inference.tasks import Outcome
from tests.robustness.result_targets import prediction, tasks


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_picture_without_a_finite_value(value: float) -> None:
    image = read_image(np.full((6, 8), value, np.float32))
    mapped = build_intensity({"type": "Percentiles", "polarity": "auto"}).measure(image)
    assert mapped.apply(image.pixels).tolist() == np.zeros((6, 8, 1), int).tolist()
    assert mapped.note == "holds no finite value: there is nothing to see in it"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model.type": "Nope"}, r"config .*nuclei.*: Nope is not in the mmdet::model registry"),
        ({"model.backbone.type": "Nope"}, "Nope is not in the mmdet::model registry"),
        ({"model.backbone.nope": 3}, "EfficientNetLite.* unexpected keyword argument 'nope'"),
        ({"model.type.x": 1}, "settings .*cannot be put into it"),
        ([1], "settings .*cannot be put into it"),
    ],
    ids=["model", "backbone", "argument", "into a text", "no dict"],
)
def test_parts_of_a_config_that_cannot_be_built(options: Any, said: str) -> None:
    with pytest.raises(CellsegError, match=said):
        load_model("nuclei", device="cpu", cfg_options=options)


def test_a_config_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("metainfo = dict(classes=('cell',))")
    with pytest.raises(ConfigError, match=r"empty\.py: model is null; it must be a dict"):
        ModelSpec(str(path), "nuclei").identity()


def test_an_inference_config_is_not_trained() -> None:
    from cellseg_mmdet.cli import run

    with pytest.raises(UsageError, match="nuclei has no train_dataloader"):
        run(["train", "nuclei"])


@pytest.mark.parametrize(
    "choose",
    [
        lambda: ScaleChoice(scale=0),
        lambda: ScaleChoice(scale="2"),
        lambda: ScaleChoice(diameter_px=0),
        lambda: ScaleChoice(diameter_px="big"),
        lambda: ScaleChoice(diameter_px=float("nan")),
        lambda: ScaleChoice(pixel_size_um="fil"),
        lambda: ScaleChoice(pixel_size_um=True),
        lambda: TileChoice(tile=100.5),
        lambda: TileChoice(memory_gb=float("inf")),
        lambda: TileChoice(memory_gb="4"),
    ],
)
def test_sizes_that_are_none(choose: Any) -> None:
    with pytest.raises(CellsegError, match=r"must be|'auto', 'off'"):
        choose()


def weights(folder: Path, tensors: dict[str, torch.Tensor], meta: str | None = None) -> Path:
    path = folder / "weights.safetensors"
    path.write_bytes(save(tensors, metadata=None if meta is None else {"cellseg_mmdet": meta}))
    return path


def test_weights_of_another_kind_of_numbers(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    path = weights(tmp_path, {"weight": torch.ones(1, 2, dtype=torch.int16), "bias": torch.ones(1)})
    with pytest.raises(CheckpointError, match="another kind of numbers, weight"):
        load_weights(model, read_checkpoint(path), str(path))


def test_safetensors_are_not_read_before_their_size_is_known(tmp_path: Path) -> None:
    path = weights(tmp_path, {"weight": torch.ones(3)})
    os.truncate(path, 10**12)  # without a block on the disk
    with pytest.raises(CheckpointError, match=r"1000000000000 bytes.*its header says"):
        read_checkpoint(path)
    path.write_bytes((10**9).to_bytes(8, "little") + b"{")
    os.truncate(path, 10**10)
    with pytest.raises(CheckpointError, match="its header would have 1000000000 bytes"):
        read_checkpoint(path)


@pytest.mark.parametrize("meta", ["[" * 100_000, "[1]", "{", "5"])
def test_metadata_of_safetensors(tmp_path: Path, meta: str) -> None:
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        read_checkpoint(weights(tmp_path, {"weight": torch.ones(3)}, meta))


@pytest.mark.parametrize(
    "dataset_meta",
    [
        5,
        [1],
        "x",
        {"classes": 5},
        {"classes": [1, 2]},
        {"classes": [["a"]]},
        {"classes": ["a", "b"]},
    ],
    ids=repr,
)
def test_classes_of_a_checkpoint(tmp_path: Path, dataset_meta: Any) -> None:
    content = read_checkpoint(_shipped())
    path = weights(tmp_path, content["state_dict"], json.dumps({"dataset_meta": dataset_meta}))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_model("nuclei", str(path), device="cpu")


def _shipped() -> Path:
    from cellseg_mmdet.shipped import find_model

    return find_model("nuclei").weights


def record(folder: Path, resume: bool | None = None) -> RunRecord:
    return RunRecord(folder / "out", tasks(folder), {"model": "one"}, resume=resume)


def test_a_damaged_record_removes_nothing_elsewhere(tmp_path: Path) -> None:
    others = [tmp_path / "others.txt", tmp_path / "folder"]
    others[0].touch()
    others[1].mkdir()
    with record(tmp_path) as kept:
        kept.add(Outcome(tasks(tmp_path)[0], prediction("a", 1), ("cell", "other")))
    path = tmp_path / "out/.cellseg-run/run.json"
    about = json.loads(path.read_text())
    about["written"] = ["../others.txt", str(others[0]), str(others[1]), "../folder"]
    path.write_text(json.dumps(about))
    record(tmp_path, resume=False).close()
    assert all(one.exists() for one in others)


@pytest.mark.parametrize("written", [[1], ["a\0b"], [None], {"a": 1}, "text"], ids=repr)
def test_paths_of_a_record_that_are_none(tmp_path: Path, written: Any) -> None:
    record(tmp_path).close()
    path = tmp_path / "out/.cellseg-run/run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "written": written}))
    with contextlib.suppress(UsageError):  # an object and a text are lists of texts
        record(tmp_path, resume=False).close()
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="is damaged"):
        record(tmp_path)
