"""The table of a run of inference, and the same cells measured later."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.inference import infer_images, plan
from tests.inference.bright_patches import BrightPatches, squares


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "images"
    source.mkdir()
    for name, pixels in {"a.png": squares(30, 50, 4, 9), "b.png": squares(30, 50)}.items():
        assert cv2.imwrite(str(source / name), pixels)
    return source


def test_a_run_writes_the_table_that_measuring_its_results_gives(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    summary = infer_images(BrightPatches(), plan([folder]), out, write=["table", "coco"])
    rows = rows_of(out / "cells.csv")
    assert len(rows) == summary.num_cells == 2
    assert {row["image"] for row in rows} == {"a"}
    assert summary.written[out / "cells.csv"] == "table of cells"
    monkeypatch.chdir(tmp_path)
    cellseg(["measure", "out/predictions.json", "images", "--out", "later.csv"])
    # Scores go through JSON, everything else is measured anew.
    for row, later in zip(rows, rows_of(tmp_path / "later.csv"), strict=True):
        assert float(row.pop("score")) == pytest.approx(float(later.pop("score")))
        assert row == later


def test_another_run_with_a_table_needs_no_new_predictions(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    infer_images(BrightPatches(), plan([folder]), out, write=["coco"])
    again = infer_images(BrightPatches(), plan([folder]), out, write=["table"])
    assert again.num_resumed == 2
    assert len(rows_of(out / "cells.csv")) == 2


def test_options_of_the_table(folder: Path, tmp_path: Path) -> None:
    options = {"table": {"names": "imagej", "pixel_size_um": (0.5, 0.5)}}
    infer_images(
        BrightPatches(), plan([folder]), tmp_path / "out", write=["table"], writer_options=options
    )
    rows = rows_of(tmp_path / "out/cells.csv")
    assert [float(row["Area"]) * 4 for row in rows] == [float(row["area_px"]) for row in rows]
    assert np.isfinite([float(row["Feret"]) for row in rows]).all()
