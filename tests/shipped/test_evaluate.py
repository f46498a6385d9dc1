"""`tools/models/evaluate.py`: scores by modality and by size, into the card."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellseg_mmdet import config_files
from cellseg_mmdet.annotations import read_annotations, write_annotations
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.shipped import ModelCard
from cellseg_mmdet.structures import ImageRecord
from tests.inference.test_size_estimate import OfOneSize, discs
from tools.models import evaluate
from tools.models.evaluate import measured, scores_of, size_name
from tools.models.pictures import pictures_in
from tools.models.render import BEGIN, END


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    records = []
    for name, kind, diameter in (
        ("a", "one", 10),
        ("b", "one", 25),
        ("c", "two", 75),
        ("d", "two", 0),
    ):
        picture = discs(diameter, 300) if diameter else np.zeros((300, 300), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
        patches = cv2.connectedComponents((picture > 100).astype(np.uint8))[1]
        masks = Runs.from_label_map(patches)
        records.append(
            ImageRecord(f"{name}.png", 300, 300, masks, ("cell",) * len(masks), cell_type=kind)
        )
    write_annotations(tmp_path / "all.json", records)
    return tmp_path


def test_a_detector_that_is_right_scores_about_1_in_every_group(folder: Path) -> None:
    records = read_annotations(folder / "all.json")
    images = list(measured(OfOneSize(), records, folder))
    scores = scores_of(images, data="discs", command="evaluate")
    assert scores.overall.images == 4 and scores.overall.cells == sum(len(r.masks) for r in records)
    assert list(scores.by_modality) == ["one", "two"]
    assert list(scores.by_size) == ["none", "up to 12 px", "20 to 32 px", "over 50 px"]
    assert [one.images for one in scores.by_size.values()] == [1, 1, 1, 1]
    assert scores.by_size["20 to 32 px"].kaggle_map == scores.by_size["none"].kaggle_map == 1.0
    assert min(one.f1_50 for one in scores.by_size.values()) > 0.95


def test_an_image_that_fails_is_named(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.png"):
        list(measured(OfOneSize(), read_annotations(folder / "all.json"), folder))


def test_sizes_have_names() -> None:
    assert [size_name(value) for value in (13, 20, 20.1, 50, 50.1)] == [
        "12 to 20 px", "12 to 20 px", "20 to 32 px", "32 to 50 px", "over 50 px",
    ]  # fmt: skip


@pytest.fixture
def own_copy(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    target = tmp_path / "shipped/tiny"
    target.mkdir(parents=True)
    for path in (packed / "tiny").iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(config_files, "MODELS", target.parent)
    return target


@pytest.mark.slow
def test_the_scores_go_into_the_card(
    folder: Path,
    own_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["evaluate.py", "tiny", "--ann", str(folder / "all.json"), "--images", str(folder)]
    words += ["--scale", "0.5", "--device", "cpu", "--about", "four pictures", "--pictures", "1"]
    page = folder / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    words += ["--page", str(page)]

    def run(*more: str) -> Any:
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as end:
            evaluate.main()
        assert not end.value.code
        return json.loads((own_copy / "card.json").read_text())["scores"]

    assert run("--dry-run") is None
    assert "| all | 4 |" in capsys.readouterr().out
    assert "tiny" not in page.read_text() and not pictures_in(own_copy)
    scores = run()
    assert [one["file"] for one in scores["pictures"]] == ["best_1.jpg", "worst_1.jpg"]
    assert [path.name for path in pictures_in(own_copy)] == ["best_1.jpg", "worst_1.jpg"]
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n")
    assert "(../cellseg_mmdet/shipped/tiny/best_1.jpg)" in text
    assert scores["data"] == "four pictures" and scores["overall"]["images"] == 4
    assert scores["command"].startswith("tools/models/evaluate.py tiny --ann ")
    assert ModelCard.read(own_copy / "card.json").scores is not None
    assert Predictor(own_copy / "config.json", str(own_copy / "weights.safetensors"), device="cpu")
