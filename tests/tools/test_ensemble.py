from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

pytestmark = pytest.mark.slow

TOOLS = Path(__file__).parents[2] / "tools"
CELLS = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
CONFIG = """\
val_dataloader = dict(dataset=dict(metainfo=dict(classes=("cort",))))
val_evaluator = dict(type="CellMetric")
postprocess = [dict(type="ScoreThreshold", score_thr=0.5)]
"""


def run(tool: str, *args: str) -> None:
    cellseg([tool, *args])


def predict(found: dict[str, list[tuple[int, float]]]) -> list[dict[str, Any]]:
    """Return a dump of images, of each which of the two cells were found, with their scores."""
    entries = []
    for number, (image_id, cells) in enumerate(found.items()):
        masks = CELLS[np.array([cell for cell, _ in cells], dtype=int)]
        instances = {
            "bboxes": masks.boxes.astype(np.float32),
            "scores": np.array([score for _, score in cells], dtype=np.float32),
            "labels": np.zeros(len(cells), dtype=np.int64),
            "masks": masks.to_coco(),
        }
        entries.append(
            {
                "img_id": number,
                "img_path": f"{image_id}.png",
                "ori_shape": (2, 4),
                "pred_instances": instances,
            }
        )
    return entries


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dumps of images p and q: both models see the first cell of each, one of them the second."""
    monkeypatch.chdir(tmp_path)
    Path("config.py").write_text(CONFIG)
    first = {"p": [(0, 0.9), (1, 0.8)], "q": [(0, 0.9)]}
    second = {"q": [(0, 0.7), (1, 0.8)], "p": [(0, 0.7)]}
    for name, found in {"a.pkl": first, "b.pkl": second}.items():
        Path(name).write_bytes(pickle.dumps(predict(found)))
    write_annotations(
        "val.json", [ImageRecord(f"{name}.png", 2, 4, CELLS, ("cort",) * 2) for name in "pq"]
    )


def test_a_fused_dump_goes_into_the_other_tools(capsys: pytest.CaptureFixture[str]) -> None:
    run("ensemble", "a.pkl", "b.pkl", "--weights", "3", "1", "--out", "out/fused.pkl")
    assert capsys.readouterr().out.splitlines() == [
        "masks were fused by vote: no soft masks in a.pkl, b.pkl",
        "out/fused.pkl: 6 detections fused to 4 instances in 2 images",
    ]
    run("submit", "out/fused.pkl", "--config", "config.py", "--out", "s.csv")
    # Scores of the second cells: 0.8 x 3/4 in p, and 0.8 x 1/4 in q, below the threshold.
    assert Path("s.csv").read_text() == "id,predicted\np,1 2 5 2\np,4 1 8 1\nq,1 2 5 2\n"

    run(
        "evaluate", "out/fused.pkl", "--ann", "val.json", "--config", "config.py",
        "--out", "report.json",
    )  # fmt: skip
    report = json.loads(Path("report.json").read_text())
    assert report["overall"]["kaggle_map"] == pytest.approx(0.75)


def test_suppression_keeps_every_score(capsys: pytest.CaptureFixture[str]) -> None:
    run("ensemble", "a.pkl", "b.pkl", "--method", "nms", "--overlap", "mask", "--out", "f.pkl")
    assert "6 detections fused to 4 instances" in capsys.readouterr().out
    run("submit", "f.pkl", "--config", "config.py", "--out", "s.csv")
    assert len(Path("s.csv").read_text().splitlines()) == 5


def test_errors_are_told_in_a_line() -> None:
    def errors(*args: str) -> str:
        result = subprocess.run(
            [sys.executable, str(TOOLS / "ensemble.py"), *args, "--out", "fused.pkl"],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(TOOLS.parent)},
        )
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        return result.stderr

    Path("c.pkl").write_bytes(pickle.dumps(predict({"p": []})))
    assert "error: c.pkl lacks 1 of the 2 images of a.pkl: q" in errors("a.pkl", "c.pkl")
    assert not Path("fused.pkl").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a.pkl", "no.pkl"], "no.pkl"),
        (["a.pkl", "b.pkl", "--weights", "1"], "one each is needed for 2 sources"),
        (["a.pkl", "b.pkl", "--iou-thr", "1.5"], "iou_thr 1.5"),
        (["a.pkl", "labels.pkl", "--config", "config.py"], r"labels.pkl.*label 2.*cort"),
    ],
)
def test_what_does_not_fit_is_an_error(args: list[str], message: str) -> None:
    entries = predict({"p": [(0, 0.5)], "q": []})
    entries[0]["pred_instances"]["labels"][:] = 2
    Path("labels.pkl").write_bytes(pickle.dumps(entries))
    with pytest.raises((CellsegError, FileNotFoundError), match=message):
        run("ensemble", *args, "--out", "fused.pkl")


def test_dumps_of_different_images(capsys: pytest.CaptureFixture[str]) -> None:
    for name, image in (("c.pkl", "r"), ("d.pkl", "s")):
        Path(name).write_bytes(pickle.dumps(predict({image: [(0, 0.5)]})))
    run("ensemble", "c.pkl", "d.pkl", "--union", "--out", "fused.pkl")
    assert "2 detections fused to 2 instances in 2 images" in capsys.readouterr().out
