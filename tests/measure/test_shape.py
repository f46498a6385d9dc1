from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import euler_number, label, perimeter, regionprops

from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.measure.shape import shapes_of
from tests.measure.cells import bitmaps, disc, masks_of, one, rectangle

# Ours -> scikit-image's, where both mean the same.
SAME = {
    "area": "area",
    "perimeter": "perimeter",
    "perimeter_crofton": "perimeter_crofton",
    "equivalent_diameter": "equivalent_diameter_area",
    "major_axis": "axis_major_length",
    "minor_axis": "axis_minor_length",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "extent": "extent",
}
SPACINGS = st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.325, 0.65), (2.0, 0.3)])


def shape(bitmap: np.ndarray, spacing_yx: tuple[float, float] = (1.0, 1.0)) -> dict[str, float]:
    return {name: float(values[0]) for name, values in shapes_of(one(bitmap), spacing_yx).items()}


def by_skimage(bitmap: np.ndarray, spacing_yx: tuple[float, float] = (1.0, 1.0)) -> object:
    (region,) = regionprops(bitmap.astype(int), spacing=spacing_yx)
    return region


@settings(max_examples=60)
@given(bitmaps())
def test_as_scikit_image_has_it(bitmap: np.ndarray) -> None:
    found = shape(bitmap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hulls of one pixel
        region = by_skimage(bitmap)
        for ours, theirs in SAME.items():
            assert found[ours] == pytest.approx(getattr(region, theirs), rel=1e-6, abs=1e-6), ours
    assert [found["centroid_y"], found["centroid_x"]] == pytest.approx(region.centroid)
    y1, x1, y2, x2 = region.bbox
    assert [found[name] for name in ("x1", "y1", "x2", "y2")] == [x1, y1, x2, y2]
    if not math.isnan(found["orientation"]):  # a quarter turn on, the axis is the same
        assert math.sin(found["orientation"] - region.orientation) == pytest.approx(0, abs=1e-6)
    pieces = label(bitmap, connectivity=2).max()
    assert found["pieces"] == pieces
    assert found["holes"] == pieces - euler_number(bitmap, connectivity=2)


@settings(max_examples=60)
@given(bitmaps(), SPACINGS)
def test_in_pixels_of_a_size_as_scikit_image_has_it(
    bitmap: np.ndarray, spacing_yx: tuple[float, float]
) -> None:
    found, region = shape(bitmap, spacing_yx), by_skimage(bitmap, spacing_yx)
    names = ["area", "equivalent_diameter", "major_axis", "minor_axis", "eccentricity"]
    if spacing_yx[0] == spacing_yx[1]:  # scikit-image knows no other perimeters
        names += ["perimeter", "perimeter_crofton"]
    for name in names:
        assert found[name] == pytest.approx(getattr(region, SAME[name]), rel=1e-6, abs=1e-6), name
    assert [found["centroid_y"], found["centroid_x"]] == pytest.approx(region.centroid)


@settings(max_examples=50)
@given(bitmaps(), SPACINGS)
def test_feret_diameters_are_those_of_the_hull_of_all_corners(
    bitmap: np.ndarray, spacing_yx: tuple[float, float]
) -> None:
    y, x = np.nonzero(bitmap)
    corners = np.concatenate(
        [np.stack([x + right, y + down], axis=1) for right in (0, 1) for down in (0, 1)]
    )
    corners = corners * np.array(spacing_yx)[::-1]
    hull = ConvexHull(corners)
    widths = [np.abs(corners @ edge[:2] + edge[2]).max() for edge in hull.equations]
    found = shape(bitmap, spacing_yx)
    assert found["feret_max"] == pytest.approx(pdist(corners).max())
    if spacing_yx == (1.0, 1.0):  # as docs/measurements.md has it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert -0.1 < found["feret_max"] - by_skimage(bitmap).feret_diameter_max < 1
    assert found["feret_min"] == pytest.approx(min(widths))


@pytest.mark.parametrize("radius", [10.0, 25.3, 60.0])
def test_a_disc(radius: float) -> None:
    found = shape(disc(radius, 131))
    assert found["area"] == pytest.approx(math.pi * radius**2, rel=0.01)
    assert found["equivalent_diameter"] == pytest.approx(2 * radius, rel=0.005)
    assert found["perimeter_crofton"] == pytest.approx(2 * math.pi * radius, rel=0.06)
    for name in ("major_axis", "minor_axis"):
        assert found[name] == pytest.approx(2 * radius, rel=0.01)
    for name in ("feret_max", "feret_min"):
        assert found[name] == pytest.approx(2 * radius, abs=1.5)
    assert found["eccentricity"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(found["orientation"])
    assert found["solidity"] > 0.92  # of the hull's pixels those on its line count
    assert [found["centroid_x"], found["centroid_y"]] == [65, 65]
    assert (found["pieces"], found["holes"], found["touches_border"]) == (1, 0, 0)


def test_a_disc_is_rounder_than_a_square_and_a_square_than_a_line() -> None:
    numbers = [
        shape(bitmap)["circularity"]
        for bitmap in (disc(30, 65), rectangle(50, 50), rectangle(4, 120))
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == pytest.approx(1, abs=0.12)


def test_a_rectangle() -> None:
    found = shape(rectangle(6, 20))
    assert found["area"] == 120
    assert found["perimeter"] == 2 * (5 + 19)
    assert found["extent"] == found["solidity"] == 1
    assert found["major_axis"] == pytest.approx(4 * math.sqrt((20**2 - 1) / 12))
    assert found["minor_axis"] == pytest.approx(4 * math.sqrt((6**2 - 1) / 12))
    assert abs(found["orientation"]) == pytest.approx(math.pi / 2)  # along x
    assert found["feret_max"] == pytest.approx(math.hypot(6, 20))
    assert found["feret_min"] == pytest.approx(6)
    assert [found[name] for name in ("x1", "y1", "x2", "y2")] == [2, 2, 22, 8]


def test_a_ring_has_one_hole_and_two_outlines() -> None:
    found, filled = shape(disc(20, 51, inner=10)), shape(disc(20, 51))
    assert (found["holes"], found["pieces"]) == (1, 1)
    assert found["area"] == pytest.approx(math.pi * (400 - 100), rel=0.02)
    assert found["perimeter_crofton"] == pytest.approx(2 * math.pi * 30, rel=0.05)
    assert found["solidity"] == pytest.approx(found["area"] / filled["area"], rel=0.05)


def test_what_touches_by_a_corner_is_one_piece_and_holds_a_hole() -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    found = shape(diamond)
    assert (found["pieces"], found["holes"]) == (1, 1)


def test_a_cell_in_pieces() -> None:
    bitmap = np.zeros((9, 12), bool)
    bitmap[1:4, 1:4] = bitmap[5:8, 8:11] = True
    found = shape(bitmap)
    assert (found["pieces"], found["area"], found["holes"]) == (2, 18, 0)
    assert found["extent"] == pytest.approx(18 / 70)
    assert found["solidity"] < 0.6


def test_one_pixel() -> None:
    bitmap = np.zeros((3, 3), bool)
    bitmap[1, 1] = True
    found = shape(bitmap)
    assert (found["area"], found["extent"], found["solidity"], found["eccentricity"]) == (
        1,
        1,
        1,
        0,
    )
    assert (found["perimeter"], found["major_axis"], found["minor_axis"]) == (0, 0, 0)
    assert math.isnan(found["circularity"]) and math.isnan(found["orientation"])
    assert (found["feret_max"], found["feret_min"]) == (pytest.approx(math.sqrt(2)), 1)


@pytest.mark.parametrize(
    ("place", "touches"),
    [((0, 2), True), ((2, 0), True), ((4, 2), True), ((2, 6), True), ((1, 1), False)],
)
def test_the_border(place: tuple[int, int], touches: bool) -> None:
    bitmap = np.zeros((5, 7), bool)
    bitmap[place] = True
    assert shape(bitmap)["touches_border"] == touches


def test_a_box_that_reaches_the_border_without_its_cell_does_not_touch_it() -> None:
    masks = RoIMasks(
        np.array([[0, 0, 3, 3]]), np.array([0, 0, 0, 0, 1, 0, 0, 0, 0], np.uint8), 3, 3
    )
    assert not shapes_of(masks)["touches_border"][0]


def test_no_cell_and_a_cell_without_a_pixel() -> None:
    assert {len(values) for values in shapes_of(masks_of(np.zeros((2, 2)))[:0]).values()} == {0}
    found = shape_of_nothing = shapes_of(masks_of(np.zeros((2, 2)), np.eye(2)))
    assert found["area"].tolist() == [0, 2]
    assert np.isnan(shape_of_nothing["solidity"][0]) and np.isnan(found["feret_max"][0])


@settings(max_examples=30)
@given(st.lists(bitmaps(8), min_size=2, max_size=5))
def test_each_cell_is_measured_as_if_it_were_alone(cells: list[np.ndarray]) -> None:
    stacked = [np.pad(cell, ((1, 9 - len(cell)), (1, 9 - cell.shape[1]))) for cell in cells]
    together = shapes_of(masks_of(*stacked))
    for index, bitmap in enumerate(stacked):
        for name, values in shapes_of(masks_of(bitmap)).items():
            np.testing.assert_array_equal(values[0], together[name][index], err_msg=name)


@given(bitmaps())
@settings(max_examples=40)
def test_a_turned_cell_has_the_same_measures(bitmap: np.ndarray) -> None:
    found, turned = shape(bitmap), shape(np.rot90(bitmap))
    for name in ("area", "perimeter", "major_axis", "minor_axis", "feret_max", "holes", "pieces"):
        assert turned[name] == pytest.approx(found[name], abs=1e-9), name
    assert shape(bitmap, (0.5, 2.0))["perimeter"] == pytest.approx(
        shape(np.rot90(bitmap), (2.0, 0.5))["perimeter"]
    )


def test_perimeters_in_pixels_that_are_no_squares() -> None:
    found = shape(rectangle(31, 61), (2.0, 1.0))
    assert found["perimeter"] == 2 * (30 * 2 + 60)
    stretched = disc(40, 101)[::2]  # a disc again, in pixels twice as high as wide
    assert shape(stretched, (2.0, 1.0))["perimeter_crofton"] == pytest.approx(
        2 * math.pi * 40, rel=0.06
    )
    assert perimeter(disc(40, 101)) == pytest.approx(shape(disc(40, 101))["perimeter"])
