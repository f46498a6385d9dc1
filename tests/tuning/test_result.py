from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.tuning.result import Result


def result(gain: np.ndarray) -> Result:
    before = np.linspace(0.2, 0.4, len(gain))
    return Result(
        steps=[],
        cell_types=["cort", None, *["astro"] * (len(gain) - 2)],
        before=before,
        after=before + 0.5,
        held_out=before + gain,
        start={"ScoreThreshold.score_thr": 0.5, "MinArea.min_area_px": 30},
        found={"ScoreThreshold.score_thr": 0.625, "MinArea.min_area_px": 8},
        found_without=[
            {"ScoreThreshold.score_thr": 0.7, "MinArea.min_area_px": 30},
            {"ScoreThreshold.score_thr": 0.6, "MinArea.min_area_px": 12},
        ],
        num_trials=7,
    )


def test_a_gain_equal_on_all_images_is_certain() -> None:
    assert result(np.full(10, 0.1)).gain_interval() == pytest.approx((0.1, 0.1))


def test_the_interval_is_that_of_the_normal_distribution_for_many_images() -> None:
    gain = np.random.default_rng(1).normal(0.01, 0.05, 400)
    error = gain.std() / np.sqrt(len(gain))
    low, high = result(gain).gain_interval()
    assert low == pytest.approx(gain.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(gain.mean() + 1.96 * error, abs=0.1 * error)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (np.full(10, 0.1), "held out +0.1000, 95 % interval +0.1000 to +0.1000: a gain"),
        (np.full(10, -0.1), "held out -0.1000, 95 % interval -0.1000 to -0.1000: a LOSS"),
        (np.tile([-0.1, 0.1], 5), "within noise"),
        (np.zeros(10), "within noise"),
    ],
)
def test_verdict(gain: np.ndarray, verdict: str) -> None:
    assert verdict in result(gain).verdict()


def test_tables() -> None:
    table = result(np.full(4, 0.1))
    assert table.score_table().splitlines()[:4] == [
        "kaggle_map    images    before   after *  held out",
        "overall            4    0.3000    0.8000    0.4000",
        "astro              2    0.3667    0.8667    0.4667",
        "cort               1    0.2000    0.7000    0.3000",
    ]
    assert table.number_table().splitlines() == [
        "                            before     after  not in 1  not in 2",
        "ScoreThreshold.score_thr       0.5     0.625       0.7       0.6",
        "MinArea.min_area_px             30         8        30        12",
    ]
