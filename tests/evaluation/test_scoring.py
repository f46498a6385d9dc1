from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.evaluation import MetricOptions, format_scores, score_predictions
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import ImagePrediction, ImageRecord, from_records
from tests.evaluation.independent import pycocotools_ap

CLASSES = ("astro", "cort")


def record(name: str, label_map: list[list[int]], cell_type: str = "cort") -> ImageRecord:
    masks = Runs.from_label_map(np.array(label_map))
    return ImageRecord(name, masks.height, masks.width, masks, (cell_type,) * len(masks), cell_type)


RECORDS = [
    record("a.png", [[1, 1, 0], [0, 2, 2]]),
    record("b.png", [[1, 1, 1, 1], [1, 1, 1, 1]], "astro"),
]


def test_perfect_predictions_score_1_per_type_and_in_all() -> None:
    scores = score_predictions(from_records(RECORDS), RECORDS)
    assert scores == {"kaggle_map": 1, "kaggle_map_astro": 1, "kaggle_map_cort": 1}


def test_final_instances_are_scored() -> None:
    first, second = from_records(RECORDS, CLASSES)
    predictions = [replace(first, scores=np.array([0.9, 0.1])), second]
    pipeline = build_pipeline([dict(type="ScoreThreshold", score_thr=0.5)], CLASSES)
    raw = score_predictions(predictions, RECORDS, postprocess=None)
    final = score_predictions(predictions, RECORDS, postprocess=pipeline)
    assert raw["kaggle_map"] == 1
    assert final == pytest.approx(
        {"kaggle_map": 0.75, "kaggle_map_astro": 1, "kaggle_map_cort": 0.5}
    )


@pytest.mark.parametrize(
    ("predicted", "annotated", "message"),
    [
        (RECORDS, RECORDS[:1], "image 'b' is not in the annotations; its 1 are a"),
        (RECORDS[:1], RECORDS, "1 of 2 annotated images have no prediction: b"),
        (RECORDS[:1], [record("x/a.png", [[1]])], "'a' is 1 x 1 pixels .* but 2 x 3"),
        (RECORDS[:1], [RECORDS[0], record("x/a.tif", [[1]])], "a.png and x/a.tif share the name"),
    ],
    ids=["not annotated", "not predicted", "size", "same stem"],
)
def test_other_images_are_an_error(
    predicted: list[ImageRecord], annotated: list[ImageRecord], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score_predictions(from_records(predicted, CLASSES), annotated)


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match="unknown metric 'mAP'; there are aji, aji_plus, coco_ap,"
    ):
        score_predictions([], [], metrics=["mAP"])


def test_scores_as_a_table() -> None:
    table = format_scores({"kaggle_map": 0.25, "kaggle_map_astro": 1.0})
    assert table == "kaggle_map        0.2500\nkaggle_map_astro  1.0000"


def dense_scene(count: int, seed: int) -> tuple[list[ImagePrediction], list[ImageRecord]]:
    """Two images of ``count`` cells, predicted shifted, with wrong labels and duplicates."""
    rng = np.random.default_rng(seed)
    height, width = 120, 160
    records, predictions = [], []
    for name in "ab":
        x, y = rng.integers(0, width - 12, count), rng.integers(0, height - 12, count)
        w, h = rng.integers(3, 12, count), rng.integers(3, 12, count)
        labels = rng.integers(0, 2, count)
        masks = rectangles(x, y, w, h, height, width)
        records.append(
            ImageRecord(f"{name}.png", height, width, masks, tuple(CLASSES[i] for i in labels))
        )
        again = np.concatenate([np.arange(count), rng.integers(0, count, count // 4)])
        shift_x, shift_y = rng.integers(-1, 2, (2, len(again)))
        found = rectangles(
            np.maximum(x[again] + shift_x, 0), np.maximum(y[again] + shift_y, 0),
            w[again], h[again], height, width,
        )  # fmt: skip
        predictions.append(
            ImagePrediction(
                image_id=name,
                img_id=None,
                height=height,
                width=width,
                boxes=found.boxes + rng.normal(0, 0.3, (len(again), 4)),
                scores=rng.permutation(len(again))
                / len(again),  # no ties: their order is not defined
                labels=np.where(rng.random(len(again)) < 0.9, labels[again], 1 - labels[again]),
                masks=found,
            )
        )
    return predictions, records


def rectangles(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, h: np.ndarray, height: int, width: int
) -> Runs:
    dense = np.zeros((len(x), height, width), dtype=bool)
    for bitmap, left, top, right, bottom in zip(dense, x, y, x + w, y + h, strict=True):
        bitmap[top:bottom, left:right] = True
    instance, row, column = np.nonzero(dense)
    return Runs.from_pixels(column * height + row, instance, len(x), height, width)


@pytest.mark.parametrize("max_dets", [2000, 40], ids=["uncapped", "capped"])
def test_coco_ap_is_that_of_pycocotools(max_dets: int) -> None:
    # More than 100 detections of a class in an image, where pycocotools' headline AP would stop.
    predictions, records = dense_scene(count=200, seed=3)
    # The cap of COCO is per class, ours per image: they agree where one class is left.
    options = MetricOptions(CLASSES, coco_max_dets=max_dets)
    if max_dets == 40:
        predictions = [replace(p, labels=np.zeros_like(p.labels)) for p in predictions]
        records = [replace(r, categories=(CLASSES[0],) * len(r.masks)) for r in records]
    scores = score_predictions(predictions, records, metrics=["coco_ap"], options=options)
    segm_ap, segm_ap50 = pycocotools_ap(predictions, records, CLASSES, "segm", max_dets)
    bbox_ap, _ = pycocotools_ap(predictions, records, CLASSES, "bbox", max_dets)
    assert 0.01 < scores["segm_AP"] < scores["segm_AP50"] < 1
    assert scores == pytest.approx(
        {"segm_AP": segm_ap, "segm_AP50": segm_ap50, "bbox_AP": bbox_ap}, abs=1e-12
    )


def test_coco_ap_with_one_class_does_not_look_at_labels() -> None:
    first, second = from_records(RECORDS, CLASSES)
    wrong = [replace(p, labels=1 - p.labels) for p in (first, second)]
    per_class = MetricOptions(CLASSES)
    assert score_predictions(wrong, RECORDS, metrics=["coco_ap"], options=per_class)["segm_AP"] == 0
    as_one = MetricOptions(CLASSES, single_class="cell")
    scores = score_predictions(wrong, RECORDS, metrics=["coco_ap"], options=as_one)
    assert set(scores.values()) == {1}
    assert set(scores) == {
        f"{name}{of}"
        for name in ("segm_AP", "segm_AP50", "bbox_AP")
        for of in ("", "_astro", "_cort")
    }


def test_coco_ap_without_predictions_or_cells() -> None:
    empty = record("a.png", [[0, 0]])
    nothing = from_records([empty], CLASSES)
    cells = record("a.png", [[1, 0]])
    cells, empty = replace(cells, cell_type=None), replace(empty, cell_type=None)
    options = MetricOptions(CLASSES)
    missed = score_predictions(nothing, [cells], metrics=["coco_ap"], options=options)
    assert missed == {"segm_AP": 0, "segm_AP50": 0, "bbox_AP": 0}
    invented = score_predictions(
        from_records([cells], CLASSES), [empty], metrics=["coco_ap"], options=options
    )
    assert invented == {"segm_AP": -1, "segm_AP50": -1, "bbox_AP": -1}


def test_coco_ap_needs_the_classes() -> None:
    with pytest.raises(DataError, match="coco_ap needs the class names"):
        score_predictions([], [], metrics=["coco_ap"])
    with pytest.raises(DataError, match=r"a.png has cells of \['cort'\]; the classes are"):
        score_predictions(
            from_records(RECORDS[:1]),
            RECORDS[:1],
            metrics=["coco_ap"],
            options=MetricOptions(("neuron",)),
        )
    of_another_model = replace(from_records(RECORDS[:1])[0], labels=np.array([0, 2]))
    with pytest.raises(DataError, match="a: label 2 is predicted, but there are 2 classes"):
        score_predictions(
            [of_another_model], RECORDS[:1], metrics=["coco_ap"], options=MetricOptions(CLASSES)
        )


def test_all_of_it_runs_without_torch() -> None:
    code = """
import sys
import numpy as np
import cellseg_mmdet.evaluation, cellseg_mmdet.export, cellseg_mmdet.postprocess
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord, from_records
records = [ImageRecord("a.png", 1, 2, Runs.from_label_map(np.array([[1, 0]])), ("cell",))]
scores = cellseg_mmdet.evaluation.score_predictions(
    from_records(records),
    records,
    metrics=["kaggle_map", "coco_ap"],
    postprocess=cellseg_mmdet.postprocess.build_pipeline([]),
    options=cellseg_mmdet.evaluation.MetricOptions(single_class="cell"),
)
assert set(scores.values()) == {1.0}, scores
assert not {"torch", "mmcv", "mmdet", "mmengine"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
