"""Columns under the names of other programs, against the names that stand in their source code."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cellseg_mmdet.export import to_geojson
from cellseg_mmdet.images import read_image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import MeasureOptions, measure_image, renamed
from cellseg_mmdet.structures import ImagePrediction

# opts/objectsizeshapefeatures.py, measureobjectintensity.py, measureobjectneighbors.py and exporttospreadsheet.py.
CELLPROFILER = {
    "ObjectNumber",
    *(
        f"AreaShape_{name}"
        for name in (
            "Area", "Perimeter", "EquivalentDiameter", "MajorAxisLength", "MinorAxisLength", "Orientation",
            "Eccentricity", "Solidity", "Extent", "FormFactor", "MaxFeretDiameter", "MinFeretDiameter", "Center_X",
            "Center_Y", "BoundingBoxMinimum_X", "BoundingBoxMinimum_Y", "BoundingBoxMaximum_X",
            "BoundingBoxMaximum_Y",
        )
    ),
    *(
        f"Intensity_{name}Intensity_DAPI"
        for name in ("Mean", "Median", "Min", "Max", "Std", "Integrated")
    ),
    "Neighbors_NumberOfNeighbors_7",
}  # fmt: skip
# ObjectMeasurements.java; the first ones are those of our GeoJSON and of its table of measurements.
QUPATH = {
    "Image", "Cell id", "Score", "Classification", "Centroid X px", "Centroid Y px",
    "Area px^2", "Length px", "Circularity", "Solidity", "Max diameter px", "Min diameter px",
    "DAPI: Mean", "DAPI: Median", "DAPI: Min", "DAPI: Max", "DAPI: Std.Dev.",
}  # fmt: skip
# ResultsTable.java, defaultHeadings.
IMAGEJ = {
    "Label", "Area", "Mean", "StdDev", "Min", "Max", "X", "Y", "Perim.", "BX", "BY", "Width", "Height", "Major",
    "Minor", "Angle", "Circ.", "Feret", "Median", "RawIntDen", "MinFeret", "Solidity",
}  # fmt: skip


def found_in(label_map: np.ndarray) -> ImagePrediction:
    masks = Runs.from_label_map(label_map)
    count = len(masks)
    return ImagePrediction(
        "a", 1, *label_map.shape, masks.boxes, np.ones(count), np.zeros(count, int), masks
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [("cellprofiler", CELLPROFILER), ("qupath", QUPATH), ("imagej", IMAGEJ)],
)
def test_columns_have_their_names(names: str, expected: set[str]) -> None:
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    image = read_image(pixels[None], name="a", axes="CYX")
    object.__setattr__(image, "channels", ("DAPI",))
    found = found_in((pixels % 8 > 3).astype(int))
    table = measure_image(found, ["cell"], image, options=MeasureOptions(neighbour_px=7))
    assert expected <= set(renamed(table, names))


label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)
)


@settings(max_examples=60)
@given(label_maps.filter(np.any))
def test_qupath_would_measure_the_same_of_our_outlines(label_map: np.ndarray) -> None:
    found = found_in(label_map)
    table = renamed(measure_image(found, ["cell"]), "qupath")
    for row, feature in enumerate(to_geojson(found, ["cell"])["features"]):
        # GEOS is a port of the library that QuPath measures with.
        shape = shapely.geometry.shape(feature["geometry"])
        assert table["Cell id"][row] == feature["properties"]["measurements"]["Cell id"]
        assert table["Area px^2"][row] == shape.area
        assert table["Min diameter px"][row] == pytest.approx(least_width(shape.convex_hull))
        around = 2 * shapely.minimum_bounding_radius(shape)
        longest = table["Max diameter px"][row]
        assert longest - 1e-6 <= around <= 2 / math.sqrt(3) * longest + 1e-6
        assert table["Solidity"][row] >= shape.area / shape.convex_hull.area - 1e-9
        x, y = shape.centroid.coords[0]
        assert (table["Centroid X px"][row], table["Centroid Y px"][row]) == pytest.approx((x, y))


def least_width(hull: shapely.Polygon) -> float:
    """Return the least distance of two parallel lines with the hull between them, one of them along a side."""
    corners = np.array(hull.exterior.coords)
    widths = []
    for first, second in itertools.pairwise(corners):
        side = second - first
        normal = np.array([-side[1], side[0]]) / np.hypot(*side)
        across = corners @ normal
        widths.append(float(across.max() - across.min()))
    return min(widths)
