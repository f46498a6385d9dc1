from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError, WorkerError
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.postprocess.score_threshold import ScoreThreshold
from cellseg_mmdet.tuning.scorer import Scorer
from tests.tuning.scenes import CLASSES, STEPS, image, images

pytestmark = pytest.mark.slow


def scores_one_by_one(steps: list[dict]) -> list[float]:
    pipeline = build_pipeline(steps, CLASSES)
    return [
        image_score(Overlaps(pipeline(prediction).masks, record.masks))
        for prediction, record in zip(*images(5), strict=True)
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_scores_are_those_of_the_metric(jobs: int) -> None:
    thresholds = [0.1, 0.32, 0.5, 0.83]
    with Scorer(*images(5), STEPS, 0, CLASSES, jobs) as scorer:
        # All are begun before the first is waited for, of some images and in another order.
        chosen = np.array([4, 0, 3])
        lists = [[dict(STEPS[0], score_thr=threshold), *STEPS[1:]] for threshold in thresholds]
        pending = [scorer.submit(steps, chosen) for steps in lists]
        for steps, one in zip(lists, pending, strict=True):
            assert one.wait().tolist() == [scores_one_by_one(steps)[index] for index in chosen]


def test_shared_steps_are_applied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    call = ScoreThreshold.__call__
    monkeypatch.setattr(
        ScoreThreshold, "__call__", lambda step, given: calls.append(given) or call(step, given)
    )
    with Scorer(*images(3), STEPS, 1, CLASSES, 1) as scorer:
        for min_area_px in (1, 10, 100):
            steps = [STEPS[0], dict(STEPS[1], min_area_px=min_area_px), STEPS[2]]
            scores = scorer.score(steps, np.arange(3)).tolist()
            assert len(calls) == 3
            assert scores == scores_one_by_one(steps)[:3]
            del calls[3:]


def test_more_jobs_than_images() -> None:
    with Scorer(*images(1), STEPS, 0, CLASSES, 8) as scorer:
        assert scorer.score(STEPS, np.array([0])).tolist() == scores_one_by_one(STEPS)[:1]


@pytest.mark.parametrize("jobs", [1, 2])
def test_predictions_of_another_model(jobs: int) -> None:
    pairs = [image("a", "astro"), image("b", "cort")]
    predictions = [replace(pairs[0][0], labels=pairs[0][0].labels + 2), pairs[1][0]]
    with pytest.raises(ConfigError, match=r"a: labels from 2 to 2 .* 2 classes"):
        Scorer(predictions, [record for _, record in pairs], STEPS, 0, CLASSES, jobs)


@pytest.mark.slow
def test_the_image_of_a_killed_worker_is_named() -> None:
    predictions, records = images(4)
    with Scorer(predictions, records, STEPS, 0, CLASSES, 2) as scorer:
        for worker in scorer._workers:
            for process in worker.executor._processes.values():
                process.kill()
        with pytest.raises(WorkerError, match=r"^[^:]+: the worker process .* fewer --jobs"):
            scorer.score(STEPS, np.arange(4))
