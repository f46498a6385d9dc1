"""Which checkpoint a training goes on from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from cellseg_mmdet.engine import checkpoint, commands
from cellseg_mmdet.errors import CheckpointError
from tests.engine.command_arguments import train_arguments

RESUMABLE = {
    "meta": {"epoch": 1, "iter": 2},
    "state_dict": {"a": torch.ones(1)},
    "message_hub": {},
    "optimizer": {},
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gather what the log is told about checkpoints."""
    lines: list[str] = []
    monkeypatch.setattr(checkpoint, "print_log", lambda text, **_: lines.append(text))
    return lines


def test_resume_from_a_named_checkpoint(config_file: Path):
    checkpoint = config_file.with_name("epoch_3.pth")
    checkpoint.touch()

    cfg = commands.training_config(train_arguments(config_file, resume=str(checkpoint)))

    assert (cfg.resume, cfg.load_from) == (True, str(checkpoint))


def test_resume_takes_the_newest_checkpoint_of_the_work_dir(config_file: Path):
    run = config_file.parent / "run"
    run.mkdir()
    for epoch in (1, 2):
        torch.save(RESUMABLE, run / f"epoch_{epoch}.pth")
    (run / "last_checkpoint").write_text(str(run / "epoch_2.pth"))

    cfg = commands.training_config(train_arguments(config_file, resume="auto"))

    assert (cfg.resume, cfg.load_from) == (True, str(run / "epoch_2.pth"))


@pytest.mark.parametrize("pointer", [None, "", "/gone/epoch_7.pth"], ids=["no", "empty", "moved"])
def test_resume_takes_the_newest_whole_checkpoint(config_file: Path, said, pointer: str | None):
    run = config_file.parent / "run"
    run.mkdir()
    contents = {
        "epoch_1": RESUMABLE,
        "epoch_2": RESUMABLE,
        "best": {"meta": {"epoch": 3, "iter": 3}, "state_dict": {"a": torch.ones(1)}},
        "epoch_3": RESUMABLE,
    }
    for age, (name, content) in enumerate(contents.items()):
        path = run / f"{name}.pth"
        torch.save(content, path)
        os.utime(path, (age, age))
    (run / "epoch_3.pth").write_bytes((run / "epoch_3.pth").read_bytes()[:-40])  # cut off
    os.utime(run / "epoch_3.pth", (9, 9))
    if pointer is not None:
        (run / "last_checkpoint").write_text(pointer)

    cfg = commands.training_config(train_arguments(config_file, resume="auto"))

    assert (cfg.resume, cfg.load_from) == (True, str(run / "epoch_2.pth"))
    *refused, last = said
    assert any("epoch_3.pth" in line and "incomplete" in line for line in refused)
    assert any("best.pth has no message_hub, optimizer" in line for line in refused)
    assert last == f"resuming from {run / 'epoch_2.pth'}"


def test_a_moved_work_dir_is_resumed_from_its_last_checkpoint(config_file: Path):
    run = config_file.parent / "run"
    run.mkdir()
    for name in ("epoch_1", "other"):
        torch.save(RESUMABLE, run / f"{name}.pth")
    (run / "last_checkpoint").write_text("/before/run/epoch_1.pth")

    cfg = commands.training_config(train_arguments(config_file, resume="auto"))

    assert cfg.load_from == str(run / "epoch_1.pth")


def test_a_training_whose_checkpoints_are_all_gone_is_not_begun_anew(config_file: Path):
    run = config_file.parent / "run"
    run.mkdir()
    (run / "last_checkpoint").write_text(str(run / "epoch_1.pth"))

    with pytest.raises(CheckpointError, match=r"run holds a training, but no checkpoint"):
        commands.training_config(train_arguments(config_file, resume="auto"))


def test_a_first_start_is_said_to_be_one(config_file: Path, said):
    cfg = commands.training_config(train_arguments(config_file, resume="auto"))

    assert (cfg.resume, cfg.get("load_from")) == (False, None)
    (line,) = said
    assert line.endswith("run has no checkpoint to resume from: training starts anew")


def test_a_config_that_resumes_by_itself_does_it_like_this(config_file: Path):
    run = config_file.parent / "run"
    run.mkdir()
    torch.save(RESUMABLE, run / "epoch_1.pth")

    cfg = commands.training_config(train_arguments(config_file, cfg_options={"resume": True}))

    assert (cfg.resume, cfg.load_from) == (True, str(run / "epoch_1.pth"))


def test_resume_without_a_checkpoint_keeps_the_weights_to_start_from(config_file: Path):
    weights = config_file.with_name("pretrained.pth")
    weights.touch()
    options = {"load_from": str(weights)}

    cfg = commands.training_config(train_arguments(config_file, resume="auto", cfg_options=options))

    assert (cfg.get("resume", False), cfg.load_from) == (False, str(weights))
