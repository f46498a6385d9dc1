from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.converters.splits import assign_folds
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation import score_predictions
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.tuning.result import Result
from cellseg_mmdet.tuning.search import Search, open_storage
from cellseg_mmdet.tuning.space import Steps, find_parameters
from cellseg_mmdet.tuning.tune import Task, tune
from tests.tuning.scenes import CLASSES, STEPS, Image, image, images

pytestmark = pytest.mark.slow

THRESHOLD = "ScoreThreshold.score_thr"


def task(pairs: list[Image] | None = None, steps: Steps = STEPS, **options) -> Task:
    predictions, records = zip(*pairs, strict=True) if pairs else images(8)
    parameters = find_parameters(steps, CLASSES, **options)
    return Task(predictions, records, steps, CLASSES, parameters, {"steps": steps})


def score_of(one: Task, steps: Steps) -> float:
    pipeline = build_pipeline(steps, one.classes)
    return score_predictions(one.predictions, one.records, postprocess=pipeline)["kaggle_map"]


def test_the_threshold_of_each_class_is_found(tmp_path: Path) -> None:
    one = task(only=[THRESHOLD])
    result = tune(one, tmp_path / "a.journal", num_trials=25)
    assert 0.7 < result.found[f"{THRESHOLD}.astro"] <= 0.8
    assert 0.2 < result.found[f"{THRESHOLD}.cort"] <= 0.3
    assert result.after.tolist() == [1] * 8
    assert result.steps[0]["score_thr"] == {
        "astro": result.found[f"{THRESHOLD}.astro"],
        "cort": result.found[f"{THRESHOLD}.cort"],
    }
    # At 0.5 three of five are cells in one half of the images, and none is found in the others.
    assert result.before.mean() == score_of(one, STEPS) == pytest.approx((3 / 6 + 0) / 2)
    assert result.after.mean() == score_of(one, result.steps)


def test_one_threshold_for_all_cannot_part_both(tmp_path: Path) -> None:
    one = task(per_class=False, only=[THRESHOLD])
    result = tune(one, tmp_path / "a.journal", num_trials=40)
    # From 0.2 to 0.3 all cells are found: 3 of 7 in one half of the images, 3 of 3 in the other.
    assert 0.2 < result.found[THRESHOLD] <= 0.3
    assert result.after.mean() == pytest.approx((3 / 7 + 1) / 2)


def test_a_number_that_gains_nothing_stays_what_it_was(tmp_path: Path) -> None:
    result = tune(task(), tmp_path / "a.journal", num_trials=15)
    for name, start in result.start.items():
        if not name.startswith(THRESHOLD):
            assert result.found[name] == start


def test_each_image_is_held_out_of_the_search_for_its_numbers(tmp_path: Path) -> None:
    one = task([image(f"{cell_type}{n}", cell_type) for n in range(6) for cell_type in CLASSES])
    result = tune(one, tmp_path / "a.journal", num_trials=12, num_folds=3)
    folds = assign_folds(one.records, 3)
    types = np.array(result.cell_types)
    for fold, values in enumerate(result.found_without):
        inside = np.flatnonzero(folds == fold)
        assert [(types[inside] == name).sum() for name in CLASSES] == [2, 2]
        own = task([(one.predictions[i], one.records[i]) for i in inside])
        assert result.held_out[inside].mean() == score_of(own, one.with_values(values))


def test_a_gain_by_chance_is_not_one_on_held_out_images(tmp_path: Path) -> None:
    """Two wells whose best thresholds contradict each other: what is won on one is lost on the other."""
    low = [image(f"low{n}", "cort", (0.3, 0.25), (0.2,), group="low") for n in range(4)]
    high = [image(f"high{n}", "cort", (0.9,), (0.35, 0.32, 0.27), group="high") for n in range(4)]
    one = task(low + high, steps=[{"type": "ScoreThreshold", "score_thr": 0.05}], per_class=False)
    result = tune(one, tmp_path / "a.journal", num_trials=25)
    first, second = (values[THRESHOLD] for values in result.found_without)
    assert {0.2 < first <= 0.25, 0.35 < first <= 0.9} == {True, False}
    assert {0.2 < second <= 0.25, 0.35 < second <= 0.9} == {True, False}
    assert result.after.mean() > result.before.mean()
    assert (
        result.held_out[:4].tolist() == [0] * 4
    )  # nothing is left above the threshold of the other well
    assert "within noise" in result.verdict() or "LOSS" in result.verdict()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_search_goes_on_where_it_was_stopped(tmp_path: Path, jobs: int) -> None:
    whole = tune(task(), tmp_path / "whole.journal", num_trials=9)
    path = tmp_path / "stopped.journal"
    assert tune(task(), path, num_trials=4).num_trials == 4
    result = tune(task(), path, num_trials=9, jobs=jobs)
    assert result.num_trials == 9
    assert_same(result, whole)
    # All was tried: nothing is added, and nothing changes.
    assert_same(tune(task(), path, num_trials=9), whole)
    assert Search(open_storage(path), "all", task().parameters, task().about).num_tried == 9


def test_a_search_out_of_time_has_tried_the_list_itself(tmp_path: Path) -> None:
    result = tune(task(), tmp_path / "a.journal", num_trials=1000, timeout_s=1e-9)
    assert result.num_trials == 1
    assert result.found == result.start
    assert result.steps[0]["score_thr"] == {"astro": 0.5, "cort": 0.5}
    assert result.after.tolist() == result.before.tolist() == result.held_out.tolist()


def test_another_list_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    tune(task(), path, num_trials=1)
    with pytest.raises(UsageError, match=r"a\.journal: it holds a search with other steps; go on"):
        tune(task(steps=STEPS[:2]), path, num_trials=1)


def test_more_folds_than_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Ask for fewer folds"):
        tune(task(), tmp_path / "a.journal", num_folds=9)


def assert_same(result: Result, expected: Result) -> None:
    assert result.found == expected.found
    assert result.found_without == expected.found_without
    for name in ("before", "after", "held_out"):
        assert getattr(result, name).tolist() == getattr(expected, name).tolist()
