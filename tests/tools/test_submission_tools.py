from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import main
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LEFT = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
RIGHT = np.array([[0, 1, 1, 0], [0, 0, 1, 0]])  # shares one pixel with LEFT


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images a and b, predictions of them, a config."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for name in "ab":
        cv2.imwrite(f"images/{name}.png", np.zeros((2, 4), np.uint8))
    cells = Runs.concatenate([Runs.from_label_map(LEFT), Runs.from_label_map(RIGHT)])
    scores = {"a": [0.3, 0.8], "b": [0.1, 0.1]}
    entries = [
        {
            "img_id": number,
            "img_path": f"images/{name}.png",
            "ori_shape": (2, 4),
            "pred_instances": {
                "bboxes": torch.zeros(2, 4),
                "scores": torch.tensor(scores[name]),
                "labels": torch.tensor([0, 1]),
                "masks": cells.to_coco(),
            },
        }
        for number, name in enumerate("ab")
    ]
    Path("preds.pkl").write_bytes(pickle.dumps(entries))
    Path("config.py").write_text(
        'metainfo = dict(classes=("astro", "cort"))\n'
        "postprocess = [\n"
        '    dict(type="ScoreThreshold", score_thr=dict(astro=0.2, cort=0.5)),\n'
        '    dict(type="RemoveOverlaps"),\n'
        "]\n"
    )
    return tmp_path


def test_from_predictions_to_a_valid_submission(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cellseg(["submit", "preds.pkl", "--config", "config.py", "--out", "out/s.csv"])
    assert Path("out/s.csv").read_text() == "id,predicted\na,2 2 7 1\na,1 1 5 1\nb,\n"
    assert capsys.readouterr().out == (
        "post-processing left out 2 of 4 cells (50 %): ScoreThreshold 2\n"
        "out/s.csv: sartorius submission, 2 images, 2 cells, 1 images without cells\n"
    )
    assert cellseg(["check", "out/s.csv", "--images", "images"]) == 0
    assert capsys.readouterr().out == "out/s.csv: valid sartorius submission\n"


def test_a_list_without_overlap_removal_is_completed_and_said_so(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.py").write_text("postprocess = []\n")
    cellseg(
        ["submit", "preds.pkl", "--config", "config.py", "--out", "s.csv", "--format", "dsb2018"]
    )
    assert "config.py: postprocess may end with masks that overlap" in capsys.readouterr().out
    assert cellseg(["check", "s.csv", "--images", "images", "--format", "dsb2018"]) == 0


def test_all_faults_are_printed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.csv").write_text("id,predicted\na,1 9\na,1 1\na,1 2\n")
    assert cellseg(["check", "s.csv", "--images", "images"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "row 2, image a: pair 1 (1 9): ends at pixel 9, past the end; the image has 8 pixels "
        "(image of 2 x 4 pixels)",
        "row 4, image a: shares 1 pixel with row 3",
        "image b: no row; an image without cells needs one with an empty string",
        "s.csv: not a valid sartorius submission, 3 faults",
    ]


def test_a_check_that_cannot_be_made_is_no_success(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["check", *arguments])
        return end.value.code

    assert status("no_such.csv", "--images", "images") == 2
    assert "no_such.csv" in capsys.readouterr().err
    Path("s.csv").write_text("id,predicted\n")
    assert status("s.csv", "--images", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_ground_truth_as_submission(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = Runs.concatenate([Runs.from_label_map(LEFT), Runs.from_label_map(RIGHT)])
    records = [
        ImageRecord("b.png", 2, 4, Runs.from_label_map(LEFT + 2 * RIGHT * (LEFT == 0)), ("c",) * 2),
        ImageRecord("a.png", 2, 4, both, ("c", "c")),
    ]
    write_annotations("all.json", records)
    cellseg(["submit", "all.json", "--ground-truth", "--out", "s.csv"])
    assert Path("s.csv").read_text() == (
        "id,predicted\nb,1 2 5 1\nb,3 1 7 1\na,1 2 5 1\na,3 1 7 1\n"
    )
    assert "1 shared pixels" in capsys.readouterr().out
    assert cellseg(["check", "s.csv", "--images", "images"]) == 0


def test_as_commands(workspace: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "tools" / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            env=environment,
        )

    failed = run("make_submission.py", "no.pkl", "--config", "config.py", "--out", "s.csv")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert "no.pkl" in failed.stderr
    assert not Path("s.csv").exists()

    Path("s.csv").write_text("id,predicted\na,\n")
    assert run("check_submission.py", "s.csv", "--images", "images").returncode == 1
