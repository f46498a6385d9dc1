from __future__ import annotations

import pickle
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

TOOL = Path(__file__).parents[2] / "tools/report.py"
CELLS = Runs.from_label_map(np.repeat([[0, 1, 0, 2, 0]], 8, axis=0).repeat(4, axis=1))
CONFIG = """
metainfo = dict(classes=("cell",))
val_evaluator = dict(type="CellMetric", ann_file="val.json")
postprocess = [dict(type="ScoreThreshold", score_thr=0.5)]
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_annotations("val.json", [ImageRecord("a.png", 8, 20, CELLS, ("cell",) * 2)])
    instances = {
        "bboxes": CELLS.boxes.astype(np.float32),
        "scores": np.array([0.9, 0.8], np.float32),
        "labels": np.zeros(2, np.int64),
        "masks": CELLS.to_coco(),
    }
    entry = {"img_path": "a.png", "ori_shape": (8, 20), "pred_instances": instances}
    Path("preds.pkl").write_bytes(pickle.dumps([entry]))
    Path("config.py").write_text(CONFIG)
    Path("images").mkdir()
    cv2.imwrite("images/a.png", np.full((8, 20), 100, np.uint8))


def report(*arguments: str, source: str = "preds.pkl") -> None:
    main = runpy.run_path(str(TOOL))["main"]
    main([source, "--ann", "val.json", "--out", "out", *arguments])


def test_page_and_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--pictures", "--cells", "canny", "--view", "equalised")
    report("--config", "config.py", "--images", "images", *more)
    assert "out/index.html: report on 1 images" in capsys.readouterr().out
    assert "<b>1.000</b><span>Competition mAP</span>" in Path("out/index.html").read_text()
    assert [path.name for path in Path("out/pictures").iterdir()] == ["a.png"]


def test_missing_images_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CellsegError, match=r"name that of the images \(--images\)"):
        report("--config", "config.py")
    assert not Path("out").exists()


def test_submission_needs_no_config(capsys: pytest.CaptureFixture[str]) -> None:
    masks = CELLS.to_strings(order="row")
    Path("sub.csv").write_text("id,predicted\n" + "".join(f"a,{mask}\n" for mask in masks))
    report("--images", "images", source="sub.csv")
    assert "out/index.html: report on 1 images" in capsys.readouterr().out
    assert "<b>1.000</b><span>Competition mAP</span>" in Path("out/index.html").read_text()


def test_dump_needs_a_config() -> None:
    with pytest.raises(CellsegError, match=r"preds\.pkl holds raw predictions: --config must name"):
        report("--images", "images")
