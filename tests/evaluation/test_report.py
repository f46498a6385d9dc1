from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation import MetricOptions
from cellseg_mmdet.evaluation.image_metric import (
    IMAGE_METRICS,
    mean_over_images,
    metric_names,
    score_texts,
)
from cellseg_mmdet.evaluation.report import Report, evaluate
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import ImageRecord, from_records

CLASSES = ("astro", "cort")
SCORES = (
    "kaggle_map", "segm_AP", "segm_AP50", "bbox_AP", "pq", "sq", "rq", "aji", "aji_plus", "dice",
    "iou", "count_error", "count_bias",
)  # fmt: skip


def record(name: str, label_map: list[list[int]], cell_type: str) -> ImageRecord:
    masks = Runs.from_label_map(np.array(label_map))
    return ImageRecord(name, masks.height, masks.width, masks, (cell_type,) * len(masks), cell_type)


RECORDS = [
    record("a.png", [[1, 1, 0, 2, 2]], "cort"),
    record("b.png", [[1, 1, 1, 1, 0]], "astro"),
    record("c.png", [[1, 1, 0, 2, 2]], "cort"),
]


@pytest.fixture
def report() -> Report:
    """Of the second cell of `a` the score is too low for the post-processing."""
    first, *others = from_records(RECORDS, CLASSES)
    return evaluate(
        [replace(first, scores=np.array([0.9, 0.1])), *others],
        RECORDS,
        postprocess=build_pipeline([dict(type="ScoreThreshold", score_thr=0.5)], CLASSES),
        options=MetricOptions(CLASSES),
        about={"predictions": "preds.pkl"},
    )


def test_all_scores_of_all_images_and_of_each_type(report: Report) -> None:
    assert set(report.per_type) == {"astro", "cort"}
    for scores in (report.overall, *report.per_type.values()):
        assert set(SCORES) < set(scores)
        assert {
            f"{name}_{iou}" for name in ("f1", "precision", "recall") for iou in (50, 95)
        } < set(scores)
    assert report.overall["kaggle_map"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert report.per_type["cort"]["kaggle_map"] == pytest.approx(3 / 4)
    assert report.per_type["cort"]["rq"] == report.per_type["cort"]["f1_50"] == 6 / 7
    assert report.per_type["cort"]["count_bias"] == -1 / 2
    assert set(report.per_type["astro"].values()) == {0, 1}  # 0 is the count error


def test_average_precision_is_of_raw_predictions(report: Report) -> None:
    assert report.overall["segm_AP"] == report.overall["bbox_AP"] == 1


def test_each_image(report: Report) -> None:
    assert report.per_image[0] == pytest.approx(
        {
            "image": "a",
            "cell_type": "cort",
            "kaggle_map": 1 / 2,
            "aji": 1 / 2,
            "dice": 2 / 3,
            "true": 2,
            "found": 1,
            "hits": 1,
        }
    )
    assert [image["image"] for image in report.per_image] == ["a", "b", "c"]


def test_json_holds_all_of_it(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "new" / "report.json")
    content = json.loads((tmp_path / "new" / "report.json").read_text())
    assert content["overall"] == report.overall
    assert content["per_type"] == report.per_type
    assert content["per_image"] == report.per_image
    assert content["about"]["predictions"] == "preds.pkl"
    assert (content["about"]["postprocess"], content["about"]["found"]) == (True, 4)


def test_csv_holds_the_table(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell_type"] for row in rows] == ["overall", "astro", "cort"]
    assert float(rows[0]["kaggle_map"]) == report.overall["kaggle_map"]
    assert list(rows[0])[1:] == list(report.overall)


def test_another_suffix_is_an_error(report: Report, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"report\.txt: the name of a report ends with .json or .csv"
    ):
        report.write(tmp_path / "report.txt")


def test_the_table(report: Report) -> None:
    lines = report.as_table().splitlines()
    assert lines[0] == "3 images, 5 cells, 4 predicted (after post-processing)"
    assert lines[2].split() == ["overall", "astro", "cort"]
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["kaggle_map"] == ["0.8333", "1.0000", "0.7500"]
    assert rows["segm_AP"] == ["*", "1.0000", "1.0000", "1.0000"]
    assert rows["recall"] == ["0.8000"] * 10
    assert set(SCORES) <= set(rows)
    assert (
        "* of the raw predictions, before post-processing, the best 2000 of an image at most"
        in lines
    )


def test_without_scores_there_is_no_average_precision(tmp_path: Path) -> None:
    report = evaluate(from_records(RECORDS), RECORDS, metrics=metric_names(needing_scores=False))
    assert report.overall["kaggle_map"] == report.overall["pq"] == 1
    for scores in (report.overall, report.per_type["cort"]):
        assert scores["segm_AP"] is scores["segm_AP50"] is scores["bbox_AP"] is None
    assert "* not measured: the predictions have no scores" in report.as_table()
    report.write(tmp_path / "report.csv")
    assert ",,," in (tmp_path / "report.csv").read_text()
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["overall"]["bbox_AP"] is None


def test_every_score_of_a_table_has_its_text_in_the_order_of_tables() -> None:
    metrics = [IMAGE_METRICS.get(name)(MetricOptions(classes=("a",))) for name in metric_names()]
    assert metric_names()[0] == "kaggle_map"
    assert [metric.rank for metric in metrics] == sorted(metric.rank for metric in metrics)
    assert list(score_texts()) == [name for metric in metrics for name in metric.texts]
    report = evaluate(from_records(RECORDS), RECORDS, options=MetricOptions(single_class="cell"))
    assert score_texts().keys() <= report.overall.keys()


def test_a_new_metric_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IMAGE_METRICS, "_parts", dict(IMAGE_METRICS._parts))
    mean_over_images("pairs", "Pairs", "cells that meet")(lambda overlaps: len(overlaps.pairs))
    report = evaluate(from_records(RECORDS), RECORDS, metrics=metric_names(needing_scores=False))
    assert report.overall["pairs"] is not None
    assert list(score_texts())[-1] == "pairs"
