from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

TOOL = Path(__file__).parents[2] / "tools/evaluate.py"
CELLS = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
TYPES = {"a": "cort", "b": "astro"}
TRAIN = "id,annotation,width,height,cell_type\n" + "".join(
    f"{image_id},{mask},4,2,{cell_type}\n"
    for image_id, cell_type in TYPES.items()
    for mask in ("1 2 5 2", "4 1 8 1")
)
PERFECT = "id,predicted\na,1 2 5 2\na,4 1 8 1\nb,4 1 8 1\nb,1 2 5 2\n"
# Of image b one cell, and that cut to half its pixels.
WORSE = "id,predicted\na,1 2 5 2\na,4 1 8 1\nb,1 2\n"


def dump(*, as_array: bool = False, label: int = 1, size_hw: tuple[int, int] = (2, 4)) -> list[Any]:
    """Predict both cells of both images, of ``b`` the second with a low score."""
    rles = (
        CELLS.to_coco()
        if size_hw == (2, 4)
        else Runs.from_label_map(np.eye(2, 3, dtype=int)).to_coco() * 2
    )
    entries = []
    for number, (image_id, second) in enumerate({"a": 0.8, "b": 0.1}.items()):
        instances = {
            "bboxes": np.array([[0, 0, 2, 2], [3, 0, 4, 2]], dtype=np.float32),
            "scores": np.array([0.9, second], dtype=np.float32),
            "labels": np.array([label if image_id == "a" else 0] * 2),
        }
        if not as_array:
            instances = {key: torch.from_numpy(value) for key, value in instances.items()}
        entries.append(
            {
                "img_id": number,
                "img_path": f"images/{image_id}.png",
                "ori_shape": size_hw,
                "pred_instances": instances | {"masks": rles},
            }
        )
    return entries


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Annotations, predictions and csv files of images a and b, and a config."""
    monkeypatch.chdir(tmp_path)
    records = [
        ImageRecord(f"{image_id}.png", 2, 4, CELLS, (cell_type,) * 2, cell_type)
        for image_id, cell_type in TYPES.items()
    ]
    write_annotations("val.json", records)
    Path("preds.pkl").write_bytes(pickle.dumps(dump()))
    Path("train.csv").write_text(TRAIN)
    Path("perfect.csv").write_text(PERFECT)
    Path("worse.csv").write_text(WORSE)
    Path("images").mkdir()
    for image_id in TYPES:
        cv2.imwrite(f"images/{image_id}.png", np.zeros((2, 4), np.uint8))
    Path("config.py").write_text(
        'metainfo = dict(classes=("astro", "cort"))\n'
        'val_evaluator = dict(type="CellMetric", ann_file="val.json", coco_max_dets=50)\n'
        'postprocess = [dict(type="ScoreThreshold", score_thr=0.5)]\n'
    )
    return tmp_path


def evaluate(*arguments: str) -> dict[str, Any]:
    cellseg(["evaluate", *arguments, "--out", "report.json"])
    return json.loads(Path("report.json").read_text())


def test_a_dump(capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate("preds.pkl", "--ann", "val.json", "--config", "config.py")
    assert report["overall"]["kaggle_map"] == 0.75
    assert report["per_type"]["astro"]["kaggle_map"] == 0.5
    assert report["overall"]["segm_AP"] == report["overall"]["bbox_AP"] == 1
    assert [image["found"] for image in report["per_image"]] == [2, 1]
    out = capsys.readouterr().out
    assert "2 images, 4 cells, 3 predicted (after post-processing)" in out
    assert "the best 50 of an image at most" in out
    assert out.endswith("report.json: report of 2 images\n")

    raw = evaluate("preds.pkl", "--ann", "val.json", "--config", "config.py", "--no-postprocess")
    assert raw["overall"]["kaggle_map"] == raw["overall"]["pq"] == 1
    assert "4 predicted (as they are)" in capsys.readouterr().out


@pytest.mark.parametrize("ann", ["train.csv", "perfect.csv"])
def test_a_dump_against_a_csv(ann: str) -> None:
    report = evaluate("preds.pkl", "--ann", ann, "--config", "config.py")
    assert report["overall"]["kaggle_map"] == 0.75
    assert report["overall"]["segm_AP"] == 1
    assert set(report["per_type"]) == (set(TYPES.values()) if ann == "train.csv" else set())


def test_one_class_of_several_types() -> None:
    config = Path("config.py").read_text().replace('"astro", "cort"', '"cell"')
    config = config.replace("coco_max_dets=50", 'single_class="cell"')
    Path("config.py").write_text(config)
    Path("preds.pkl").write_bytes(pickle.dumps(dump(label=0)))
    report = evaluate("preds.pkl", "--ann", "val.json", "--config", "config.py")
    assert report["overall"]["segm_AP"] == report["per_type"]["cort"]["segm_AP"] == 1


@pytest.mark.parametrize("ann", ["train.csv", "val.json"])
def test_a_submission(ann: str) -> None:
    assert evaluate("perfect.csv", "--ann", ann)["overall"]["kaggle_map"] == 1
    report = evaluate("worse.csv", "--ann", ann)
    assert report["per_type"]["astro"]["kaggle_map"] == 0
    assert report["overall"]["kaggle_map"] == 0.5
    assert report["overall"]["segm_AP"] is None


def test_two_submissions() -> None:
    there = evaluate("worse.csv", "--ann", "perfect.csv", "--images", "images")
    back = evaluate("perfect.csv", "--ann", "worse.csv", "--images", "images")
    assert there["overall"]["kaggle_map"] == back["overall"]["kaggle_map"] == 0.5
    assert there["per_type"] == {}
    # A train.csv says the sizes, on whichever side it is.
    assert evaluate("train.csv", "--ann", "worse.csv")["overall"]["kaggle_map"] == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(dump())[:-100], "bad.pkl is not a pickle .*"),
        (pickle.dumps(dump()[:1]), "1 of 2 annotated images have no prediction: b"),
        (pickle.dumps(dump(label=2)), "labels from 2 to 2 are predicted, but there are 2 classes"),
        (pickle.dumps(dump(size_hw=(2, 3))), "image 'a' is 2 x 4 pixels .* but 2 x 3"),
        (pickle.dumps({"classes": ()}), "bad.pkl: not mmdet 3.x annotations"),
        (
            pickle.dumps(dump()).replace(b"images/a.png", b"images/x.png"),
            "1 of 2 annotated images have no prediction: a",
        ),
    ],
    ids=["cut off", "image missing", "other classes", "other size", "other layout", "other image"],
)
def test_faults_of_a_dump(content: bytes, message: str) -> None:
    Path("bad.pkl").write_bytes(content)
    with pytest.raises(CellsegError, match=message):
        evaluate("bad.pkl", "--ann", "val.json", "--config", "config.py")
    assert not Path("report.json").exists()


def test_other_classes_without_postprocessing() -> None:
    Path("bad.pkl").write_bytes(pickle.dumps(dump(label=2)))
    with pytest.raises(CellsegError, match="a: label 2 is predicted, but there are 2 classes"):
        evaluate("bad.pkl", "--ann", "val.json", "--config", "config.py", "--no-postprocess")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PERFECT[:-2], "bad.csv is cut off"),
        (PERFECT[: PERFECT.index("b,")], "1 of 2 annotated images have no prediction: b"),
        (PERFECT + "c,1 2\n", "bad.csv, row 6: image 'c' is none of the 2 images to compare it with"),
        (PERFECT + "b,8 2\n", "bad.csv, row 6: pair 1 .* past the end"),
        (TRAIN.replace(",4,2,", ",5,2,"), "image 'a' is 2 x 4 pixels .* but 2 x 5 in the prediction"),
    ],
    ids=["cut off", "cut after a line", "other image", "other size", "other size said"],
)  # fmt: skip
def test_faults_of_a_csv(content: str, message: str) -> None:
    Path("bad.csv").write_text(content)
    with pytest.raises(CellsegError, match=message):
        evaluate("bad.csv", "--ann", "val.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("preds.pkl", "--ann", "val.json"), "preds.pkl holds raw predictions: --config must name"),
        (("worse.csv", "--ann", "perfect.csv"), "height and width are not known.*--images"),
        (("no.csv", "--ann", "val.json"), "no.csv"),
        (("worse.csv", "--ann", "no.json"), "no.json"),
        (("worse.csv", "--ann", "perfect.csv", "--images", "no"), "no does not exist"),
    ],
    ids=["no config", "no sizes", "no predictions", "no annotations", "no images"],
)
def test_faults_of_the_command(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises((CellsegError, OSError), match=message):
        evaluate(*arguments)


@pytest.mark.slow
def test_as_a_command_without_torch() -> None:
    Path("sitecustomize.py").write_text(
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'mmcv', 'mmdet', 'faster_coco_eval')))\n"
    )
    Path("arrays.pkl").write_bytes(pickle.dumps(dump(as_array=True)))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(TOOL), *arguments],
            env=os.environ | {"PYTHONPATH": f"{TOOL.parents[1]}{os.pathsep}{Path.cwd()}"},
            capture_output=True,
            text=True,
            check=False,
        )

    scored = run("worse.csv", "--ann", "train.csv")
    assert scored.returncode == 0, scored.stderr
    assert "kaggle_map      0.5000" in scored.stdout
    failed = run("arrays.pkl", "--ann", "val.json", "--config", "config.py")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: ")
    assert "faster_coco_eval" in failed.stderr
    assert "Traceback" not in failed.stderr
    failed = run("worse.csv", "--ann", "train.csv", "--out", "report.txt")
    assert failed.returncode == 1
    assert failed.stderr == "error: report.txt: the name of a report ends with .json or .csv\n"
