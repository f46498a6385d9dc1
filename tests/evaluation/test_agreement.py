"""All metrics against implementations that share no code with the package."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings

from cellseg_mmdet.evaluation import MetricOptions, score_predictions
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImagePair
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction, ImageRecord, from_records
from tests.evaluation.independent import dense_scores, pycocotools_ap
from tests.evaluation.scenes import bitmaps_of, jittered_scenes, runs_of, worsened

CLASSES = ("astro", "cort", "shsy5y")
WINDOW_XYXY = (100, 100, 400, 340)
DENSE = ("kaggle_map", "pq", "aji", "aji_plus", "dice", "iou")


def scores(predicted: Runs, true: Runs) -> dict[str, float]:
    height, width = true.height, true.width
    found, cells = (
        ImageRecord("a.png", height, width, masks, ("cell",) * len(masks))
        for masks in (predicted, true)
    )
    numbers = score_predictions(from_records([found]), [cells], metrics=DENSE)
    return {name: numbers[name] for name in DENSE}


# The same scenes each time: of two matchings with the same sum of IoUs, AJI+ may take either.
@settings(derandomize=True, max_examples=200)
@given(jittered_scenes())
def test_random_scenes(scene: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = scene
    assume(predicted.any() or true.any())
    assert scores(runs_of(predicted), runs_of(true)) == pytest.approx(
        dense_scores(predicted, true), abs=1e-12
    )


@pytest.fixture(scope="module")
def cells_of(sartorius: Path) -> dict[str, list[Runs]]:
    """A part, as N x H x W fits into memory, of the first four images of each type; some cells overlap."""
    strings: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    with (sartorius / "train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            strings[row["cell_type"]][row["id"]].append(row["annotation"])
    return {
        cell_type: [
            _without_empty(Runs.from_strings(texts, 520, 704, order="row").cropped(*WINDOW_XYXY))
            for texts in list(images.values())[:4]
        ]
        for cell_type, images in strings.items()
    }


def _without_empty(masks: Runs) -> Runs:
    return masks[masks.areas > 0]


@pytest.mark.realdata
@pytest.mark.parametrize("cell_type", CLASSES)
def test_real_cells_jittered_dropped_and_found_twice(
    cells_of: dict[str, list[Runs]], cell_type: str
) -> None:
    rng = np.random.default_rng(0)
    for true in cells_of[cell_type]:
        predicted = worsened(true, rng)
        found = scores(predicted, true)
        assert found == pytest.approx(
            dense_scores(bitmaps_of(predicted), bitmaps_of(true)), abs=1e-12
        )
        assert all(0.05 < score < 0.99 for score in found.values())


@pytest.mark.realdata
def test_average_precision_of_real_cells(cells_of: dict[str, list[Runs]]) -> None:
    rng = np.random.default_rng(0)
    records: list[ImageRecord] = []
    predictions: list[ImagePrediction] = []
    for cell_type, images in cells_of.items():
        for true in images:
            name, predicted = f"{len(records)}.png", worsened(true, rng)
            masks = {"true": true, "found": predicted}
            record, found = (
                ImageRecord(
                    name, runs.height, runs.width, runs, (cell_type,) * len(runs), cell_type
                )
                for runs in masks.values()
            )
            records.append(record)
            prediction = from_records([found], CLASSES)[0]
            # No ties: which of equal scores comes first is not defined.
            predictions.append(replace(prediction, scores=rng.permutation(len(found.masks)) / 1000))
    numbers = score_predictions(
        predictions, records, metrics=["coco_ap"], options=MetricOptions(CLASSES)
    )
    segm = pycocotools_ap(predictions, records, CLASSES, "segm", 2000)
    bbox = pycocotools_ap(predictions, records, CLASSES, "bbox", 2000)
    expected = {"segm_AP": segm[0], "segm_AP50": segm[1], "bbox_AP": bbox[0]}
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert 0.05 < numbers["segm_AP"] < 0.95


def test_what_masks_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from cellseg_mmdet.evaluation import overlaps

    calls: list[int] = []
    shared = overlaps.pairwise_intersection

    def counting(first: Runs, second: Runs) -> np.ndarray:
        calls.append(len(first))
        return shared(first, second)

    monkeypatch.setattr(overlaps, "pairwise_intersection", counting)
    masks = Runs.from_label_map(np.array([[1, 1, 2]]))
    record = ImageRecord("a.png", 1, 3, masks, ("cell", "cell"))
    pair = ImagePair(from_records([record])[0], record)
    for name in IMAGE_METRICS.names():
        IMAGE_METRICS.get(name)(MetricOptions(("cell",))).measure(pair)
    assert calls == [2]
