"""Cell 12 is cell 12 in every output of a run: the same number, the same pixels, the same score."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from roifile import ImagejRoi, roiread

from cellseg_mmdet.export import WRITERS, opened
from cellseg_mmdet.images.image import Image
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction, load_predictions
from tests.export.scenes import CLASSES, dense, masks_of
from tests.export.test_imagej import pixels_of

# A submission has no room for numbers.
NUMBERED = sorted(set(WRITERS.names()) - {"submission", "overlay", "table", "parquet"})


@st.composite
def predictions(draw: st.DrawFn) -> ImagePrediction:
    """Some cells: in pieces, with holes, over each other, without a pixel."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    count = draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = rng.random((count, height, width)) < rng.choice([0, 0.1, 0.5, 0.9], (count, 1, 1))
    masks = masks_of(pixels) if count else Runs.empty(height, width)
    # A run keeps scores with 4 bytes.
    scores = rng.random(count).astype(np.float32).astype(np.float64)
    return ImagePrediction(
        "a",
        7,
        height,
        width,
        masks.boxes.astype(float),
        scores,
        rng.integers(0, 2, count),
        masks,
        img_path="a.png",
    )


def picture_of(found: ImagePrediction) -> Picture:
    key = ImageKey("a.png", name="a")
    pixels = np.full((found.height, found.width, 1), 40, np.uint16)
    return Picture(key, image=Image(pixels, key, ("gray",), (0.5, 0.5)))


def geojson(folder: Path) -> dict[int, tuple[float, int]]:
    features = json.loads((folder / "geojson/a.geojson").read_text("utf-8"))["features"]
    cells = {}
    for feature in features:
        properties = feature["properties"]
        number = properties["measurements"]["Cell id"]
        assert properties["name"] == str(number)
        area = shapely.geometry.shape(feature["geometry"]).area
        cells[number] = (properties["measurements"]["Score"], int(area))
    return cells


def rois(folder: Path, found: ImagePrediction) -> dict[int, tuple[float, int]]:
    read = roiread(folder / "rois/a.zip")
    cells = {}
    for roi in [read] if isinstance(read, ImagejRoi) else read:
        number = roi.properties["cell_id"]
        assert int(roi.name[:4]) == number
        area = int(pixels_of(roi, found.height, found.width).sum())
        cells[number] = (float(roi.properties["score"]), area)
    return cells


def table(folder: Path) -> dict[int, tuple[float, int]]:
    with (folder / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {int(row["id"]): (float(row["score"]), int(row["area_px"])) for row in rows}


def coco(folder: Path) -> dict[int, tuple[float, int]]:
    rows = json.loads((folder / "predictions.json").read_text())
    return {
        row["cell_id"]: (row["score"], int(coco_mask.area(row["segmentation"]))) for row in rows
    }


def npz(folder: Path) -> dict[int, tuple[float, int]]:
    content: Any = np.load(folder / "npz/a.npz")
    masks = Runs(
        content["starts"], content["lengths"], content["offsets"], *content["labels"].shape
    )
    cells = zip(content["scores"].tolist(), masks.areas.tolist(), strict=True)
    return dict(zip(content["cell_ids"].tolist(), cells, strict=True))


@pytest.mark.slow
@settings(max_examples=40)
@given(predictions())
def test_a_row_finds_its_outline_in_every_output(found: ImagePrediction) -> None:
    assert NUMBERED == [
        "coco", "csv", "dump", "geojson", "imagej", "label-tiff", "npz", "ome-zarr", "outlines",
    ]  # fmt: skip
    with TemporaryDirectory() as name:
        folder = Path(name)
        writers = [WRITERS.get(name)() for name in NUMBERED]
        with opened(writers, folder, CLASSES):
            for writer in writers:
                writer.add(found, picture_of(found))
                writer.close()

        areas = found.masks.areas.tolist()
        every = {
            number: (score, area)
            for number, score, area in zip(
                range(1, len(found) + 1), found.scores.tolist(), areas, strict=True
            )
        }
        filled = {number: cell for number, cell in every.items() if cell[1]}
        for cells in (geojson(folder), rois(folder, found), table(folder)):
            assert list(cells) == list(filled)
            for number, (score, area) in cells.items():
                assert score == pytest.approx(filled[number][0], rel=1e-5)
                assert area == filled[number][1]
        for cells in (coco(folder), npz(folder)):
            assert cells == every
        svg = (folder / "outlines/a.svg").read_text("utf-8")
        assert [int(text) for text in re.findall(r'id="cell-(\d+)"', svg)] == list(filled)
        assert len((folder / "outlines/a.txt").read_text().splitlines()) == len(filled)
        (again,) = load_predictions(folder / "predictions.pkl")
        assert again.cell_ids.tolist() == list(every) and again.masks == found.masks

        label_images = [
            np.asarray(tifffile.imread(folder / "labels/a.tif")),
            np.asarray(zarr.open_group(folder / "ome-zarr/a.zarr", mode="r")["labels/cells/0"]),
            np.load(folder / "npz/a.npz")["labels"],
        ]
        covered = dense(found.masks).any(axis=0) if len(found) else np.zeros((1, 1), bool)
        for labels in label_images:
            np.testing.assert_array_equal(labels > 0, covered & np.ones_like(labels, bool))
            for number in np.unique(labels[labels > 0]).tolist():
                assert (dense(found.masks)[number - 1] | (labels != number)).all()
