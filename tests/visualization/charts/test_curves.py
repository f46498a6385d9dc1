from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.visualization.charts.curves import (
    Curve,
    name_runs,
    plot_curves,
    read_curves,
    select_keys,
    smooth,
)


def write_log(work_dir: Path, start: str, rows: Sequence[dict[str, Any]]) -> Path:
    path = work_dir / start / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train_row(step: int, loss: float, *, epoch: int | None = 1) -> dict[str, Any]:
    place = {"iter": step, "step": step} | ({} if epoch is None else {"epoch": epoch})
    return {"lr": 0.1, "data_time": 0.0, "loss": loss, "time": 0.5, "memory": 9, **place}


def val_row(step: int, score: float) -> dict[str, Any]:
    return {"cell/kaggle_map": score, "data_time": 0.0, "time": 1.0, "step": step}


def test_losses_by_iteration_and_metrics_by_epoch(tmp_path: Path) -> None:
    rows = [
        train_row(10, 3.0),
        train_row(20, 2.0),
        val_row(1, 0.1),
        train_row(30, 1.0),
        val_row(2, 0.2),
    ]
    write_log(tmp_path, "20260101_000000", rows)
    curves = read_curves(tmp_path)
    assert list(curves) == ["lr", "loss", "cell/kaggle_map"]
    loss, score = curves["loss"], curves["cell/kaggle_map"]
    assert (loss.x.tolist(), loss.y.tolist(), loss.x_label) == (
        [10, 20, 30],
        [3, 2, 1],
        "iteration",
    )
    assert (score.x.tolist(), score.y.tolist(), score.x_label) == ([1, 2], [0.1, 0.2], "epoch")


def test_validation_of_a_training_by_iterations(tmp_path: Path) -> None:
    write_log(tmp_path, "20260101_000000", [train_row(10, 3.0, epoch=None), val_row(10, 0.1)])
    assert read_curves(tmp_path)["cell/kaggle_map"].x_label == "iteration"


def test_resumed_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    # Killed at iteration 40, after the checkpoint of 20: 30 and 40 are done again.
    before = [train_row(step, 100.0 + step) for step in (10, 20, 30, 40)]
    write_log(
        tmp_path, "20260101_000000", [*before[:2], val_row(1, 0.1), *before[2:], val_row(2, 0.9)]
    )
    write_log(
        tmp_path, "20260102_000000", [train_row(30, 30.0), val_row(2, 0.2), train_row(50, 50.0)]
    )
    curves = read_curves(tmp_path)
    assert curves["loss"].x.tolist() == [10, 20, 30, 50]
    assert curves["loss"].y.tolist() == [110, 120, 30, 50]
    assert curves["cell/kaggle_map"].y.tolist() == [0.1, 0.2]


def test_start_that_was_cut_off_before_its_first_line_changes_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, "20260101_000000", [train_row(10, 3.0)])
    write_log(tmp_path, "20260102_000000", [])
    assert read_curves(tmp_path)["loss"].y.tolist() == [3.0]


def test_loss_that_is_no_number_stays_in_its_place(tmp_path: Path) -> None:
    write_log(tmp_path, "20260101_000000", [train_row(10, 3.0), train_row(20, float("nan"))])
    assert np.isnan(read_curves(tmp_path)["loss"].y).tolist() == [False, True]


def test_damaged_log_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_log(tmp_path, "20260101_000000", [train_row(10, 3.0)])
    path.write_text(path.read_text() + '{"loss": 1.0, "st')
    with pytest.raises(DataError, match=r"scalars.json, line 2: not a line"):
        read_curves(tmp_path)


def test_folder_without_a_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no log of a training"):
        read_curves(tmp_path)


RUNS = {
    "a": {
        name: Curve(np.array([1]), np.array([1.0]), "epoch")
        for name in ("lr", "grad_norm", "loss", "loss_mask", "dice")
    },
    "b": {name: Curve(np.array([1]), np.array([1.0]), "epoch") for name in ("loss", "cell/pq")},
}


def test_losses_and_metrics_are_drawn_unless_others_are_asked_for() -> None:
    assert select_keys(RUNS, []) == ["loss", "loss_mask", "dice", "cell/pq"]
    assert select_keys(RUNS, ["cell/*", "lr"]) == ["lr", "cell/pq"]
    with pytest.raises(UsageError, match="no curve is named 'aji'; there are lr, grad_norm, loss"):
        select_keys(RUNS, ["loss", "aji"])


@pytest.mark.parametrize("num_values", [1, 2, 5, 50])
def test_smooth_is_the_mean_of_the_last_values(num_values: int) -> None:
    values = np.random.default_rng(0).normal(size=20)
    values[7] = np.nan
    expected = [np.nanmean(values[max(0, i - num_values + 1) : i + 1]) for i in range(20) if i != 7]
    smoothed = smooth(values, num_values)
    assert np.delete(smoothed, 7) == pytest.approx(expected)
    assert np.isnan(smoothed[7]) == (num_values == 1)


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one/mask", "two/mask", "two/box")]
    assert name_runs(folders) == ["one/mask", "two/mask", "two/box"]
    assert name_runs(folders[1:]) == ["mask", "box"]
    with pytest.raises(UsageError, match="twice"):
        name_runs([folders[0], folders[0]])


def test_plot_has_a_panel_for_each_key(tmp_path: Path) -> None:
    plot_curves(tmp_path / "one.png", RUNS, ["loss"])
    plot_curves(tmp_path / "all.png", RUNS, ["lr", "loss", "loss_mask", "cell/pq"], smoothing=3)
    one, many = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "all.png"))
    assert many.shape[1] > 2.5 * one.shape[1] and many.shape[0] > 1.5 * one.shape[0]
    plot_curves(tmp_path / "plot.svg", RUNS, ["loss"])
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_plot_of_nothing_or_into_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends with \.png"):
        plot_curves(tmp_path / "plot.gif", RUNS, ["loss"])
    with pytest.raises(UsageError, match="neither losses nor metrics"):
        plot_curves(tmp_path / "plot.png", RUNS, [])
