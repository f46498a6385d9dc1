from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import read_image
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import QuPathMeasurements
from cellseg_mmdet.structures import ImagePrediction


def test_instances_without_a_pixel_have_no_numbers_and_keep_their_place() -> None:
    empty = Runs.from_pixels(np.arange(0), np.arange(0), 1, 3, 4)
    masks = Runs.concatenate([empty, Runs.from_label_map(np.eye(3, 4, dtype=int))])
    image = read_image(np.full((3, 4), 8, np.uint8), name="a")
    found = ImagePrediction("a", 1, 3, 4, masks.boxes, np.ones(2), np.zeros(2, int), masks)
    measured = QuPathMeasurements()(found, Picture(image.key, image=image))
    np.testing.assert_array_equal(measured["Area px^2"], [np.nan, 3])
    np.testing.assert_array_equal(measured["gray: Mean"], [np.nan, 8])
    assert all(values.dtype.kind == "f" for values in measured.values())


def test_it_goes_to_other_processes_and_is_written_down_alike() -> None:
    again = pickle.loads(pickle.dumps(QuPathMeasurements()))
    assert again == QuPathMeasurements() and repr(again) == repr(QuPathMeasurements())


def test_geojson_with_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("masks", "images"):
        Path(folder).mkdir()
    label_map = np.zeros((20, 30), np.uint16)
    label_map[4:10, 5:15] = 3
    cv2.imwrite("masks/a.png", label_map)
    cv2.imwrite("images/a.png", (label_map * 50).astype(np.uint8))
    arguments = ["export", "masks", "--to", "geojson", "--measurements", "--out-dir", "out"]
    with pytest.raises(UsageError, match="measurements need the image of 'a'"):
        cellseg(arguments)
    cellseg([*arguments, "--images", "images"])
    (feature,) = json.loads(Path("out/geojson/a.geojson").read_text())["features"]
    measured = feature["properties"]["measurements"]
    assert measured["Area px^2"] == 60
    assert measured["gray: Mean"] == 150
    assert "nearest_px" not in measured  # there is no other cell
    with pytest.raises(UsageError, match="a table needs the image of 'a'"):
        cellseg(["export", "masks", "--to", "table", "--out-dir", "out"])
    cellseg(["export", "masks", "--images", "images", "--to", "table", "--names", "imagej",
             "--out-dir", "out"])  # fmt: skip
    assert "Perim." in Path("out/cells.csv").read_text()
