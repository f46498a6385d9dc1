from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import MeasureOptions, measure_image
from cellseg_mmdet.measure.summary import Summary, write_summary
from cellseg_mmdet.structures import ImagePrediction

CLASSES = ("round", "long")


def add(
    summary: Summary,
    name: str,
    sides: list[int],
    groups: Mapping[str, str] | None = None,
    pixel_size_um: tuple[float, float] | None = None,
) -> None:
    """Add an image of 40 x 100 pixels with squares of these sides, of both classes in turns."""
    label_map = np.zeros((40, 100), int)
    for index, side in enumerate(sides):
        label_map[2 : 2 + side, 2 + 20 * index : 2 + 20 * index + side] = index + 1
    masks = Runs.from_label_map(label_map)
    labels, scores = np.arange(len(masks)) % 2, np.linspace(1, 0.5, len(masks))
    found = ImagePrediction(name, None, 40, 100, masks.boxes, scores, labels, masks)
    options = MeasureOptions(pixel_size_um=pixel_size_um)
    summary.add(found, measure_image(found, CLASSES, options=options, groups=groups))


def test_rows_of_images() -> None:
    summary = Summary(CLASSES)
    add(summary, "a", [4, 6, 10], pixel_size_um=(0.5, 0.5))
    rows = summary.of_images()
    assert [row["class"] for row in rows] == ["all", "round", "long"]
    assert [row["cells"] for row in rows] == [3, 2, 1]
    assert [row["median_area_px"] for row in rows] == [36, 58, 36]
    assert [row["median_area_um2"] for row in rows] == [9, 14.5, 9]
    assert rows[0]["confluence"] == (16 + 36 + 100) / 4000
    assert rows[1]["confluence"] == (16 + 100) / 4000
    assert rows[0]["cells_per_megapixel"] == pytest.approx(3 / 4000 * 1e6)
    assert rows[0]["cells_per_mm2"] == pytest.approx(3 / (20 * 50 / 1e6))


def test_rows_of_groups_pool_images_and_cells() -> None:
    summary = Summary(CLASSES)
    add(summary, "b", [6], {"plate": "p2"})
    add(summary, "a", [4, 4, 4], {"plate": "p1"})
    add(summary, "c", [10], {"plate": "p1"})
    rows = [row for row in summary.of_groups() if row["class"] == "all"]
    assert [row["plate"] for row in rows] == ["p1", "p2"]
    assert [row["images"] for row in rows] == [2, 1]
    assert [row["cells_per_image"] for row in rows] == [2, 1]
    assert rows[0]["cells_per_image_std"] == pytest.approx(2**0.5)
    assert np.isnan(rows[1]["cells_per_image_std"])
    assert rows[0]["median_area_px"] == 16  # of all cells, not of the images' medians
    assert rows[0]["confluence"] == (3 * 16 + 100) / 8000


def test_overlapping_cells_cover_a_pixel_once() -> None:
    masks = Runs.concatenate([Runs.from_label_map(np.ones((4, 4), int))] * 2)
    found = ImagePrediction("a", None, 4, 4, masks.boxes, np.ones(2), np.zeros(2, int), masks)
    summary = Summary(("cell",))
    summary.add(found, measure_image(found, ("cell",)))
    (row,) = summary.of_images()
    assert (row["confluence"], row["cells"]) == (1, 2)


def test_images_without_cells_and_images_of_unknown_pixel_size() -> None:
    summary = Summary(CLASSES)
    add(summary, "a", [])
    add(summary, "b", [4], pixel_size_um=(0.5, 0.5))
    empty, full = (row for row in summary.of_images() if row["class"] == "all")
    assert (empty["cells"], empty["confluence"]) == (0, 0)
    assert np.isnan(empty["median_area_px"]) and np.isnan(empty["cells_per_mm2"])
    assert full["median_area_um2"] == 4
    (group,) = (row for row in summary.of_groups() if row["class"] == "all")
    assert np.isnan(group["cells_per_mm2"])  # not of all its images


def test_nothing_is_no_row() -> None:
    assert Summary(CLASSES).of_images() == Summary(CLASSES).of_groups() == []


def test_a_summary_file(tmp_path: Path) -> None:
    summary = Summary(CLASSES)
    add(summary, "a", [])
    add(summary, "b", [4])
    write_summary(tmp_path / "s.csv", summary.of_images())
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a"] * 3 + ["b"] * 3
    assert rows[0]["median_area_px"] == "" and rows[3]["median_area_px"] == "16"
