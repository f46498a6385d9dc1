"""`cellseg models`, and models that ship in place of CONFIG and CHECKPOINT."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet import config_files
from cellseg_mmdet.cli import build_parser, run
from cellseg_mmdet.config_files import as_base, config_path, read_config
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.shipped import ModelCard, find_model, list_models, model_files
from tests.shipped.conftest import packed, shipped  # noqa: F401


def parsed(*words: str):
    return build_parser().parse_args([*words, "--out-dir", "found"])


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        parsed(*words)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("words", "config", "checkpoint", "paths"),
    [
        ("tiny a.png", "tiny", None, ["a.png"]),
        ("tiny a b/ c.tif", "tiny", None, ["a", "b/", "c.tif"]),
        ("tiny --on-error skip a.png", "tiny", None, ["a.png"]),
        ("tiny a --batch-size 2 b", "tiny", None, ["a", "b"]),
        ("--on-error skip tiny a", "tiny", None, ["a"]),
        ("tiny mine.pth a", "tiny", "mine.pth", ["a"]),
        ("tiny https://host/w.pth a", "tiny", "https://host/w.pth", ["a"]),
        ("my.py mine.pth a", "my.py", "mine.pth", ["a"]),
        ("my.py tiny a", "my.py", "tiny", ["a"]),
        ("my.py mine.pth --on-error skip a b", "my.py", "mine.pth", ["a", "b"]),
        ("my.py --on-error skip mine.pth a b", "my.py", "mine.pth", ["a", "b"]),
        ("unet_cpu_dsb2018 m.pth a", "unet_cpu_dsb2018", "m.pth", ["a"]),
    ],
)
def test_a_name_or_config_and_checkpoint(
    words: str, config: str, checkpoint: str | None, paths: list[str]
) -> None:
    args = parsed("infer", *words.split())
    assert (args.config, args.checkpoint, args.paths) == (config, checkpoint, paths)


@pytest.mark.usefixtures("shipped")
def test_what_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "PATH" in error_of(capsys, "infer", "tiny")
    missing = "after CONFIG and CHECKPOINT, {} mine.pth, {} is missing"
    assert missing.format("tiny", "PATH") in error_of(capsys, "infer", "tiny", "mine.pth")
    assert missing.format("my.py", "PATH") in error_of(capsys, "infer", "my.py", "mine.pth")
    assert missing.format("my", "IMAGE") in error_of(capsys, "feature-maps", "my", "mine.pth")
    with pytest.raises(UsageError, match=r"'tinny' ships; there are tiny; did you mean tiny\?"):
        run(["infer", "tinny", "images", "--out-dir", "found"])
    assert "unrecognized arguments: --colour" in error_of(capsys, "infer", "tiny", "a", "--colour")


@pytest.mark.usefixtures("shipped")
def test_a_file_of_the_name_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").touch()
    args = parsed("infer", "tiny", "mine", "a")
    assert (args.config, args.checkpoint, args.paths) == ("tiny", "mine", ["a"])


def test_without_a_model_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config_files, "MODELS", tmp_path)
    (tmp_path / "unfinished").mkdir()  # no weights
    assert list_models() == []
    run(["models"])
    assert capsys.readouterr().out.startswith("no model comes with this installation")
    with pytest.raises(UsageError, match="no model 'nuclei' ships; this installation has none"):
        model_files("nuclei")


def test_the_table_the_card_and_the_same_for_programs(
    shipped: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["models"])
    head, row, sources, size, score, more = capsys.readouterr().out.splitlines()
    assert head.split()[:7] == ["name", "cells", "px", "mAP", "F1", "MB", "licence"]
    assert row.split() == [
        "tiny",
        "25",
        "-",
        "-",
        "0.0",
        "Apache-2.0",
        *["Nuclei", "of", "a", "test."],
    ]
    assert sources.strip() == "Nothing" and "--diameter" in size and "IoU 0.5" in score
    assert "cellseg infer NAME" in more
    run(["models", "tiny"])
    model = find_model("tiny")
    assert capsys.readouterr().out == model.card.as_markdown(1, str(model.folder))
    run(["models", "tiny", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ModelCard.from_dict(told) == ModelCard.read(shipped / "tiny/card.json")
    run(["models", "--json"])
    assert json.loads(capsys.readouterr().out) == [told]
    with pytest.raises(UsageError, match=r"there are tiny; did you mean tiny\?"):
        run(["models", "tinny"])


@pytest.mark.usefixtures("shipped")
def test_model_files() -> None:
    model = find_model("tiny")
    own = str(model.config), str(model.weights)
    assert model_files("tiny") == own
    assert model_files("my.py", "tiny") == ("my.py", own[1])
    assert model_files(Path("my.py"), Path("mine.pth")) == ("my.py", "mine.pth")
    with pytest.raises(UsageError, match=r"config my\.py needs a checkpoint"):
        model_files("my.py")
    with pytest.raises(UsageError, match=r"'unet_cpu_dsb2018' ships; there are tiny.* With a con"):
        model_files("unet_cpu_dsb2018")


@pytest.mark.usefixtures("shipped")
def test_its_config_is_one_by_its_name(tmp_path: Path) -> None:
    assert config_path("tiny") == find_model("tiny").config
    leaf = tmp_path / "tuned.py"
    leaf.write_text(f'_base_ = "{as_base("tiny", tmp_path)}"\npostprocess = []\n')
    cfg = read_config(leaf)
    assert cfg.postprocess == [] and cfg.model.type == "PixelDetector"
    with pytest.raises(
        UsageError, match=r"no shipped config or model has this name. Similar: tiny"
    ):
        config_path("tinny")


@pytest.mark.usefixtures("shipped")
def test_the_weights_of_a_model_that_ships_are_a_checkpoint_of_test_and_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cellseg_mmdet.engine import commands

    seen = []
    monkeypatch.setattr(commands, "run_testing", seen.append)
    monkeypatch.setattr(commands, "run_training", seen.append)
    run(["test", "unet_cpu_dsb2018", "tiny"])
    run(["train", "unet_cpu_dsb2018", "--cfg-options", "load_from=shipped://tiny"])
    assert commands.testing_config(seen[0]).load_from == str(find_model("tiny").weights)
    assert commands.training_config(seen[1]).load_from == "shipped://tiny"


@pytest.mark.usefixtures("shipped")
@pytest.mark.slow
def test_a_model_that_ships_predicts_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "a.png"
    assert cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (40, 48), np.uint8))
    out = str(tmp_path / "out")
    run(["infer", "tiny", "--device", "cpu", "--scale", "1", str(image), "--out-dir", out])
    assert capsys.readouterr().out.splitlines()[-1].endswith("in 1 image")
    assert (tmp_path / "out/predictions.json").is_file()
    run(["feature-maps", "tiny", str(image), "--list-layers", "--device", "cpu"])
    assert "backbone" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"give one image; got .*a\.png, b\.png"):
        run(["feature-maps", "tiny", str(image), "b.png", "--out-dir", "maps"])
