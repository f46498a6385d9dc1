"""Outlines along pixel edges: valid polygons, and exactly the pixels that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.draw import polygon2mask

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks import outlines as module
from cellseg_mmdet.masks.outlines import Outlines, outlines_of, rasterised

# Pixels as they come: pieces, holes, cells in holes, corners that touch, the border.
label_maps = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 1, 1, 2]),
)


def points_of(picture: list[str]) -> list[list[list[list[int]]]]:
    """Return the polygons of the cell that # draws."""
    label_map = np.array([[character == "#" for character in row] for row in picture]).astype(int)
    (cell,) = Outlines.from_runs(Runs.from_label_map(label_map))
    return [[ring.tolist() for ring in polygon] for polygon in cell]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (["#"], [[[[0, 1], [0, 0], [1, 0], [1, 1]]]]),
        (["..", ".#"], [[[[1, 2], [1, 1], [2, 1], [2, 2]]]]),
        (["#.", "##"], [[[[0, 2], [0, 0], [1, 0], [1, 1], [2, 1], [2, 2]]]]),
        # Two pixels that touch in a corner are two pieces.
        (["#.", ".#"], [[[[0, 1], [0, 0], [1, 0], [1, 1]]], [[[1, 2], [1, 1], [2, 1], [2, 2]]]]),
        (
            ["###", "#.#", "###"],
            [[[[0, 3], [0, 0], [3, 0], [3, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]]],
        ),
        # A ring that is open in a corner: the hole touches the outer ring there, and no ring passes it twice.
        (
            ["##.", "#.#", "###"],
            [
                [
                    [[0, 3], [0, 0], [2, 0], [2, 1], [3, 1], [3, 3]],
                    [[1, 1], [1, 2], [2, 2], [2, 1]],
                ]
            ],
        ),
    ],
    ids=["pixel", "at the corner", "L", "diagonal", "ring", "open ring"],
)
def test_outlines_known_on_paper(picture: list[str], expected: list[list[list[list[int]]]]) -> None:
    assert points_of(picture) == expected


def test_holes_in_a_corner_to_corner_row_are_two() -> None:
    (polygon,) = points_of(["####", "#.##", "##.#", "####"])
    assert [len(ring) for ring in polygon] == [4, 4, 4]


def test_a_cell_within_a_hole_is_a_polygon_of_its_own() -> None:
    polygons = points_of(["#####", "#...#", "#.#.#", "#...#", "#####"])
    assert [len(polygon) for polygon in polygons] == [2, 1]


@settings(max_examples=150)
@given(label_map=label_maps)
def test_pixels_come_back_from_valid_polygons(label_map: np.ndarray) -> None:
    masks = Runs.from_label_map(label_map)
    outlines = Outlines.from_runs(masks)
    assert outlines.to_runs() == masks
    for index, cell in enumerate(outlines):
        polygons = [shapely.Polygon(rings[0], rings[1:]) for rings in cell]
        shape = shapely.MultiPolygon(polygons)
        assert shapely.is_valid(shape), shapely.is_valid_reason(shape)
        assert shape.area == masks.areas[index]
        assert all(polygon.exterior.is_ccw for polygon in polygons)
        assert not any(hole.is_ccw for polygon in polygons for hole in polygon.interiors)


@settings(max_examples=100)
@given(label_map=label_maps, seed=st.integers(0, 99))
def test_overlapping_instances_keep_theirs(label_map: np.ndarray, seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 3, label_map.shape)
    parts = [Runs.from_label_map(label_map), Runs.from_label_map(other)]
    masks = Runs.concatenate([*parts, Runs.empty(*label_map.shape)])
    assert Outlines.from_runs(masks).to_runs() == masks


def test_empty_instances_and_none_at_all() -> None:
    nothing = Runs.empty(3, 4)
    assert len(Outlines.from_runs(nothing)) == 0
    assert Outlines.from_runs(nothing).to_runs() == nothing
    masks = Runs.from_pixels(np.array([5]), np.array([1]), 3, 3, 4)
    outlines = Outlines.from_runs(masks)
    assert [len(cell) for cell in outlines] == [0, 1, 0]
    assert outlines.to_runs() == masks
    assert list(outlines_of(Runs.empty(0, 0))) == []


@pytest.mark.parametrize("max_columns", [1, 7, 100])
def test_parts_make_no_difference(max_columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    label_map = np.random.default_rng(0).integers(0, 30, (20, 30))
    masks = Runs.from_label_map(label_map)
    at_once = Outlines.from_runs(masks)
    monkeypatch.setattr(module, "_MAX_COLUMNS", max_columns)
    again = Outlines.from_runs(masks)
    for name in ("points", "ring_offsets", "polygon_offsets", "offsets"):
        np.testing.assert_array_equal(getattr(again, name), getattr(at_once, name))
    for cell, polygons in zip(outlines_of(masks), at_once, strict=True):
        assert [[ring.tolist() for ring in rings] for rings in cell] == [
            [ring.tolist() for ring in rings] for rings in polygons
        ]


@settings(max_examples=100)
@given(
    corners=st.lists(
        st.tuples(st.floats(-3, 12, width=16), st.floats(-3, 12, width=16)), min_size=3, max_size=6
    )
)
def test_polygons_of_any_numbers_as_skimage_fills_them(corners: list[tuple[float, float]]) -> None:
    # Off the centres of pixels, on which the two decide differently.
    points = np.round(np.array(corners) * 4) / 4 + 0.0713
    masks = rasterised(points, np.array([0, len(points)]), np.array([0]), 1, 8, 9)
    # skimage has the centres of pixels at whole numbers, and rows first.
    expected = polygon2mask((8, 9), points[:, ::-1] - 0.5)
    shape = shapely.Polygon(points)
    x, y = np.meshgrid(np.arange(9) + 0.5, np.arange(8) + 0.5)
    clear = shapely.distance(shape.boundary, shapely.points(x, y)) > 1e-6
    np.testing.assert_array_equal((masks.to_label_map() > 0)[clear], expected[clear])


def test_squares_side_by_side_share_no_pixel() -> None:
    points = np.array([[0, 0], [2.5, 0], [2.5, 2], [0, 2], [2.5, 0], [5, 0], [5, 2], [2.5, 2]])
    masks = rasterised(points, np.array([0, 4, 8]), np.array([0, 1]), 2, 2, 5)
    assert masks.areas.sum() == 10
    assert masks.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 5, 2]]
