"""Entries that cannot be used end a command in one line, or are left out where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord, load_predictions

CELLS = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COCO results of one image, of which one is good and one is none, and annotations with a fault."""
    monkeypatch.chdir(tmp_path)
    write_annotations("val.json", [ImageRecord("a.png", 2, 4, CELLS, ("cell",) * 2)])
    content = json.loads(Path("val.json").read_text())
    Path("images.json").write_text(
        json.dumps({key: content[key] for key in ("images", "categories")})
    )
    first, second = content["annotations"]
    good = {key: first[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
    Path("found.json").write_text(
        json.dumps(
            [good | {"score": 0.9}, good | {"score": "high"}, good | {"segmentation": [[1]]}]
        )
    )
    second["segmentation"] = None
    Path("val.json").write_text(json.dumps(content))
    Path("images").mkdir()
    cv2.imwrite("images/a.png", np.zeros((2, 4), np.uint8))


COMMANDS = {
    "evaluate": ["evaluate", "found.json", "--ann", "val.json", "--out", "out.json"],
    "report": ["report", "found.json", "--ann", "val.json", "--images", "images", "--out", "out"],
    "submit": ["submit", "found.json", "--out", "out.csv"],
    "submit truth": ["submit", "val.json", "--ground-truth", "--out", "out.csv"],
    "ensemble": ["ensemble", "found.json", "found.json", "--out", "out.pkl"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_faults_stop_or_are_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    command = COMMANDS[name]
    out = Path(command[-1])
    with pytest.raises(DataError, match=r"(?s)\.json: .*--on-error skip of cellseg convert"):
        cellseg(command)
    assert not out.exists()
    cellseg([*command, "--on-error", "skip"])
    assert out.exists()
    assert "entries left out that cannot be used" in caplog.text


def test_what_is_left_is_used() -> None:
    cellseg([*COMMANDS["submit"], "--on-error", "skip"])
    assert Path("out.csv").read_text().splitlines() == ["id,predicted", "a,1 2 5 2"]
    cellseg([*COMMANDS["ensemble"], "--on-error", "skip"])
    (fused,) = load_predictions("out.pkl")
    assert fused.scores.tolist() == pytest.approx([0.9])
