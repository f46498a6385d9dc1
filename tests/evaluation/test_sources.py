"""Files of every kind as predictions and as truth."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import CellsegError, DataError, UsageError
from cellseg_mmdet.evaluation.files import evaluate_files
from cellseg_mmdet.evaluation.sources import read_predictions, read_source
from cellseg_mmdet.export import WRITERS
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction, ImageRecord, load_predictions
from cellseg_mmdet.structures import write_predictions as write_dump

LABELS = {"a": np.array([[1, 1, 0, 2], [1, 1, 0, 2]]), "b": np.array([[0, 3, 3, 0], [0, 0, 0, 7]])}
CLASSES = ("astro", "cort")


def prediction(name: str, number: int) -> ImagePrediction:
    masks = Runs.from_label_map(LABELS[name])
    return ImagePrediction(
        image_id=name,
        img_id=number,
        img_path=f"images/{name}.png",
        height=2,
        width=4,
        boxes=masks.boxes.astype(np.float64),
        scores=np.array([0.9, 0.4]),
        labels=np.array([0, 1]),
        masks=masks,
    )


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells of images a and b as a file of each kind."""
    monkeypatch.chdir(tmp_path)
    found = [prediction(name, number) for number, name in enumerate(LABELS, start=1)]
    write_annotations(
        "val.json",
        [ImageRecord(f"{p.image_id}.png", 2, 4, p.masks, CLASSES) for p in found],
        categories=CLASSES,
    )
    write_annotations(
        "val.pkl",
        [ImageRecord(f"{p.image_id}.png", 2, 4, p.masks, CLASSES) for p in found],
        categories=CLASSES,
    )
    write_dump("dump.pkl", found)
    for name in ("coco", "submission"):
        writer = WRITERS.get(name)()
        writer.open("out", CLASSES)
        for one in found:
            writer.add(one, np.zeros((2, 4, 3), np.uint8))
        writer.close()
    for folder, ending, suffix in (("png", "", ".png"), ("cp", "_cp_masks", ".tif")):
        Path(folder).mkdir()
        for name, labels in LABELS.items():
            cv2.imwrite(f"{folder}/{name}{ending}{suffix}", labels.astype(np.uint16))
    Path("npy").mkdir()
    Path("images").mkdir()
    for name, labels in LABELS.items():
        np.save(f"npy/{name}.npy", labels)
        cv2.imwrite(f"images/{name}.png", np.zeros((2, 4), np.uint8))
        cv2.imwrite(f"cp/{name}.png", np.zeros((2, 4), np.uint8))  # the images beside their labels
    Path("config.py").write_text(
        f"metainfo = dict(classes={CLASSES})\npostprocess = [dict(type='ScoreThreshold', score_thr=0.1)]\n"
    )


KINDS = {
    "dump.pkl": "dump of raw predictions",
    "val.json": "annotations",
    "val.pkl": "annotations",
    "out/predictions.json": "COCO results",
    "out/submission.csv": "csv of cells",
    "png": "label images",
    "cp": "label images",
    "npy": "label images",
}


@pytest.mark.parametrize(("path", "title"), KINDS.items())
def test_kinds_are_told_apart(path: str, title: str) -> None:
    assert read_source(path).title == title


@pytest.mark.parametrize("truth", KINDS)
@pytest.mark.parametrize("found", KINDS)
def test_every_kind_against_every_kind(found: str, truth: str) -> None:
    needs_config = "dump.pkl" in (found, truth)
    needs_images = found == truth == "out/submission.csv"
    report = evaluate_files(
        found,
        truth,
        config="config.py" if needs_config else None,
        images_dir="images" if needs_images else None,
    )
    assert report.overall["kaggle_map"] == report.overall["pq"] == 1
    assert report.about["images"] == 2
    has_scores = found in ("dump.pkl", "out/predictions.json")
    assert report.overall["segm_AP"] == (1 if has_scores else None)


def test_results_without_their_images_are_of_the_annotations_they_are_compared_with() -> None:
    Path("out/images.json").unlink()
    assert evaluate_files("out/predictions.json", "val.json").overall["segm_AP"] == 1
    with pytest.raises(DataError, match=r"predictions\.json: image_id 1 .*images\.json beside it"):
        evaluate_files("out/predictions.json", "png")


def test_results_may_name_their_images() -> None:
    rows = json.loads(Path("out/predictions.json").read_text())
    for row in rows:
        row["image_id"] = "ab"[row["image_id"] - 1]
    Path("named.json").write_text(json.dumps(rows))
    for truth in ("val.json", "png"):
        assert evaluate_files("named.json", truth).overall["kaggle_map"] == 1


def test_planes_of_a_stack_are_told_apart_by_their_names() -> None:
    writer = WRITERS.get("coco")()
    writer.open("stack", CLASSES)
    for number, plane in enumerate(("s_z0", "s_z1"), start=1):
        one = replace(prediction("a", number), image_id=plane, img_path="plate/s.tif")
        writer.add(one, np.zeros((2, 4, 3), np.uint8))
    writer.close()
    assert [p.image_id for p in read_predictions("stack/predictions.json")] == ["s_z0", "s_z1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"images\.json: images is null; it must be a list"),
        ({"images": [], "categories": 3}, r"images\.json: categories is 3 \(number\)"),
        (
            {"images": [{"id": 1}], "categories": []},
            r"images\.json: images, entry 1: no 'file_name'",
        ),
    ],
)
def test_images_that_are_none(content: Any, message: str) -> None:
    Path("out/images.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_source("out/predictions.json")


def test_images_without_results_have_no_cells() -> None:
    rows = json.loads(Path("out/predictions.json").read_text())
    Path("out/predictions.json").write_text(json.dumps([r for r in rows if r["image_id"] == 1]))
    assert [len(p) for p in read_predictions("out/predictions.json")] == [2, 0]
    assert evaluate_files("out/predictions.json", "val.json").overall["kaggle_map"] == 0.5


def test_results_of_one_class_against_truth_of_several() -> None:
    content = json.loads(Path("out/images.json").read_text())
    Path("out/images.json").write_text(
        json.dumps(content | {"categories": [{"id": 1, "name": "cell"}]})
    )
    rows = json.loads(Path("out/predictions.json").read_text())
    Path("out/predictions.json").write_text(json.dumps([row | {"category_id": 1} for row in rows]))
    assert evaluate_files("out/predictions.json", "val.json").overall["segm_AP"] == 1


def test_results_that_cannot_be_used_are_named_or_left_out() -> None:
    rows: list[Any] = json.loads(Path("out/predictions.json").read_text())
    rows += [
        7,
        rows[0] | {"score": None},
        rows[0] | {"segmentation": {"size": [2, 4], "counts": [3]}},
    ]
    rows += [rows[0] | {"image_id": 9}, rows[0] | {"category_id": 9}]
    Path("out/predictions.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"predictions\.json: 5 entries cannot be used") as error:
        evaluate_files("out/predictions.json", "val.json")
    for cause in ("result 5: is 7", "result 6: score is null", "... and 1 more"):
        assert cause in str(error.value)
    said: list[str] = []
    source = read_source("out/predictions.json", on_error="skip", tell=said.append)
    from cellseg_mmdet.evaluation.sources import Context

    assert [len(p) for p in source.predictions(Context())] == [2, 2]
    assert "entries left out that cannot be used: 5 (" in said[0]


def test_raw_predictions_need_a_config_on_either_side() -> None:
    for pair in (("dump.pkl", "val.json"), ("val.json", "dump.pkl")):
        with pytest.raises(UsageError, match=r"dump\.pkl holds raw predictions: --config"):
            evaluate_files(*pair)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no label image in it.*it holds nothing"),
        (lambda folder: (folder / "predictions.json").write_text("[]"), "holds predictions.json"),
        (
            lambda folder: np.save(folder / "a.npy", np.zeros((2, 4))),
            r"a\.npy: a label image is an",
        ),
        (lambda folder: np.save(folder / "a.npy", np.array([[None]])), r"a\.npy: cannot be read"),
        (lambda folder: (folder / "a.npy").write_bytes(b"no array"), r"a\.npy: cannot be read"),
        (lambda folder: (folder / "a.png").write_bytes(b"no image"), r"a\.png: not an image"),
        (
            lambda folder: cv2.imwrite(str(folder / "a.png"), np.zeros((2, 4, 3), np.uint8)),
            r"a\.png: pixels of mode RGB",
        ),
        (
            lambda folder: [
                cv2.imwrite(str(folder / f"a{suffix}"), np.eye(3, dtype=np.uint8))
                for suffix in (".png", ".tif")
            ],
            r"a\.png and a\.tif in .* are both of image 'a'",
        ),
    ],
)
def test_folders_that_are_none_of_labels(make: Any, message: str) -> None:
    Path("labels").mkdir()
    make(Path("labels"))
    with pytest.raises(CellsegError, match=message) as error:
        read_source("labels")
    assert "labels" in str(error.value)


def test_other_files() -> None:
    Path("a.txt").write_text("")
    with pytest.raises(DataError, match=r"a\.txt: cells are read from"):
        read_source("a.txt")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_source("none.json")


def test_ensembles_of_any_kind() -> None:
    cellseg(["ensemble", "dump.pkl", "out/predictions.json", "--out", "two.pkl"])
    fused = load_predictions("two.pkl")
    assert [p.masks for p in fused] == [prediction(name, 1).masks for name in LABELS]
    cellseg(["ensemble", "png", "out/submission.csv", "--images", "images", "--out", "two.pkl"])
    assert [p.scores.tolist() for p in load_predictions("two.pkl")] == [[1, 1], [1, 1]]


@pytest.mark.parametrize("path", [path for path in KINDS if path != "dump.pkl"])
def test_submissions_of_any_kind(path: str) -> None:
    cellseg(["submit", path, "--images", "images", "--out", "s.csv"])
    assert evaluate_files("s.csv", "val.json").overall["kaggle_map"] == 1


def test_a_dump_is_no_ground_truth() -> None:
    with pytest.raises(
        UsageError, match=r"dump\.pkl is a dump of raw predictions, no ground truth"
    ):
        cellseg(["submit", "dump.pkl", "--ground-truth", "--out", "s.csv"])
    with pytest.raises(UsageError, match=r"--config must name"):
        cellseg(["submit", "dump.pkl", "--out", "s.csv"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_any_protocol(protocol: int) -> None:
    content = pickle.loads(Path("val.pkl").read_bytes())
    Path("val.pkl").write_bytes(pickle.dumps(content, protocol))
    assert read_source("val.pkl").title == "annotations"
    Path("dump.pkl").write_bytes(pickle.dumps([], protocol))
    assert read_source("dump.pkl").title == "dump of raw predictions"


@pytest.mark.parametrize("path", ["out/predictions.json", "png", "val.json"])
def test_reports_of_any_kind(path: str) -> None:
    cellseg(["report", path, "--ann", "val.json", "--images", "images", "--out", "report"])
    assert Path("report/index.html").is_file()
