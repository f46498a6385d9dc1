from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.export.geojson import to_geojson
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction
from tests.export.scenes import CLASSES, HEIGHT, WIDTH, dense, prediction, write


def features_of(folder: Path, **options: Any) -> list[dict[str, Any]]:
    written = write("geojson", folder, prediction(), **options)
    assert list(written.files) == [folder / "geojson"]
    content = json.loads((folder / "geojson/a.geojson").read_text("utf-8"))
    assert content["type"] == "FeatureCollection"
    return content["features"]


def rasterised_by_shapely(geometry: dict[str, Any], height: int, width: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return shapely.contains_xy(shapely.from_geojson(json.dumps(geometry)), x, y)


def test_cells_are_what_qupath_reads(tmp_path: Path) -> None:
    features = features_of(tmp_path)
    assert [feature["properties"]["name"] for feature in features] == ["1", "2", "3", "5"]
    for feature in features:
        assert feature["type"] == "Feature"
        assert uuid.UUID(feature["id"]).version == 5
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert all(0 <= level <= 255 for level in properties["classification"]["color"])
    assert len({feature["id"] for feature in features}) == 4
    assert [feature["properties"]["classification"]["name"] for feature in features] == [
        CLASSES[label] for label in (0, 1, 0, 1)
    ]
    assert features[3]["properties"]["measurements"] == {"Cell id": 5, "Score": 0.8}
    assert "plane" not in features[0]["geometry"]


def test_outlines_are_the_masks_and_obey_the_rules_of_geojson(tmp_path: Path) -> None:
    features = features_of(tmp_path)
    pixels = dense(prediction().masks)[[0, 1, 2, 4]]
    for feature, expected in zip(features, pixels, strict=True):
        found = rasterised_by_shapely(feature["geometry"], HEIGHT, WIDTH)
        np.testing.assert_array_equal(found, expected)
        check_rules(feature["geometry"])
    assert [feature["geometry"]["type"] for feature in features] == [
        "Polygon",
        "Polygon",
        "MultiPolygon",
        "Polygon",
    ]


def check_rules(geometry: dict[str, Any]) -> None:
    """RFC 7946, section 3.1.6: rings are closed, of 4 positions or more, the outer one counter-clockwise, holes not."""
    polygons = geometry["coordinates"]
    for rings in [polygons] if geometry["type"] == "Polygon" else polygons:
        for number, ring in enumerate(rings):
            assert len(ring) >= 4 and ring[0] == ring[-1]
            assert shapely.LinearRing(ring).is_ccw == (number == 0)
    assert shapely.from_geojson(json.dumps(geometry)).is_valid


@settings(max_examples=60)
@given(
    label_map=arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)
    )
)
def test_any_mask_comes_back(label_map: np.ndarray) -> None:
    masks = Runs.from_label_map(label_map)
    count = len(masks)
    found = ImagePrediction(
        "a", 1, *label_map.shape, masks.boxes, np.ones(count), np.zeros(count, int), masks
    )
    features = to_geojson(found, ["cell"])["features"]
    for feature, expected in zip(features, dense(masks), strict=True):
        check_rules(feature["geometry"])
        again = rasterised_by_shapely(feature["geometry"], *label_map.shape)
        np.testing.assert_array_equal(again, expected)


def test_a_second_run_writes_the_same_bytes_and_another_image_other_ids(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write("geojson", tmp_path / folder, prediction(), prediction("b"))
    first, again = (
        (tmp_path / folder / "geojson/a.geojson").read_bytes() for folder in ("one", "two")
    )
    assert first == again
    other = json.loads((tmp_path / "one/geojson/b.geojson").read_text())
    ids = {feature["id"] for feature in json.loads(first)["features"]}
    assert not ids & {feature["id"] for feature in other["features"]}


def test_measurements_are_joined_by_cell(tmp_path: Path) -> None:
    areas = prediction().masks.areas.astype(float)
    areas[1] = np.nan
    features = features_of(tmp_path, measure=lambda found, picture: {"Area px^2": areas})
    measured = [feature["properties"]["measurements"] for feature in features]
    assert [row.get("Area px^2") for row in measured] == [16, None, 13, 30]
    with pytest.raises(DataError, match=r"'Area' is int64 of shape \(2,\); it must be 5 numbers"):
        to_geojson(prediction(), CLASSES, measurements={"Area": [1, 2]})


def test_cells_of_a_plane_are_on_it(tmp_path: Path) -> None:
    write("geojson", tmp_path, prediction(), plane="t2_z3")
    (first, *_) = json.loads((tmp_path / "geojson/a.geojson").read_text())["features"]
    assert first["geometry"]["plane"] == {"c": -1, "z": 3, "t": 2}


def test_object_types_are_those_of_qupath(tmp_path: Path) -> None:
    (first, *_) = features_of(tmp_path, object_type="annotation")
    assert first["properties"]["objectType"] == "annotation"
    with pytest.raises(ConfigError, match="'blob': must be one of 'detection'"):
        features_of(tmp_path, object_type="blob")


def test_what_simplifying_costs_is_said(tmp_path: Path) -> None:
    y, x = np.mgrid[-15:16, -15:16]
    masks = Runs.from_label_map((x**2 + y**2 <= 196).astype(int))
    disk = ImagePrediction("a", 1, 31, 31, masks.boxes, np.ones(1), np.zeros(1, int), masks)
    written = write("geojson", tmp_path, disk, simplify_px=1)
    (what,) = written.files.values()
    assert what.startswith(
        "1 GeoJSON file; simplified by 1 px, which leaves an IoU with the masks of 0.9"
    )
    with pytest.raises(ConfigError, match="simplify_px=-1"):
        write("geojson", tmp_path, disk, simplify_px=-1)


@pytest.mark.parametrize("count", [0, 1])
def test_images_without_cells_have_a_file(tmp_path: Path, count: int) -> None:
    none = prediction().select(np.arange(3, 3 + count))  # the one without a pixel
    write("geojson", tmp_path, none)
    content = json.loads((tmp_path / "geojson/a.geojson").read_text())
    assert content == {"type": "FeatureCollection", "features": []}
