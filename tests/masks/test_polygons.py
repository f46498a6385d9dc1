from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.boxes import to_xywh
from cellseg_mmdet.masks.parsing import parse_masks, parse_strings
from cellseg_mmdet.masks.polygons import contours, is_polygons, segmentations_to_runs

SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]  # columns 2 to 5, rows 1 to 3


def test_polygons_and_rles_side_by_side() -> None:
    rle = {"size": [8, 10], "counts": [0, 2, 78]}
    masks = segmentations_to_runs([[SQUARE], rle, [SQUARE, [0, 6, 2, 6, 2, 8, 0, 8]]], 8, 10)
    assert masks.boxes.tolist() == [[2, 1, 6, 4], [0, 0, 1, 2], [0, 1, 6, 8]]
    assert masks.areas.tolist() == [12, 2, 16]


def test_a_polygon_without_an_area_covers_nothing() -> None:
    assert segmentations_to_runs([[[1, 1, 2, 2]], []], 8, 10).areas.tolist() == [0, 0]
    assert len(segmentations_to_runs([], 8, 10)) == 0


@pytest.mark.parametrize(
    ("segmentation", "cause"),
    [
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers; x and y come in pairs"),
        (7, "a mask is a list of polygons"),
        ({"size": [8, 10]}, "a mask is a list of polygons"),
        ({"size": [8, 10], "counts": [3]}, "RLE counts add up to 3, not to 8 x 10 = 80"),
        ({"size": [8, 9], "counts": [72]}, r"RLE size \[8, 9\] differs from \[8, 10\]"),
        ([["a", 1, 2, 3, 4, 5]], "a polygon is a list of numbers"),
        ([[[1, 1], [5, 1], [5, 4]]], "a polygon is a list of numbers"),
        ([[0, 0, 1, 1, 10**400, 1]], "a polygon is a list of numbers"),
        ([[0, 0, 1, float("nan"), 5, 1]], "a polygon with a coordinate that is not finite"),
        ([[0, 0, 1, float("inf"), 5, 1]], "a polygon with a coordinate that is not finite"),
        ([[0, 0, 1e300, 0, 5, 1]], "a polygon of 2e[+]300 pixels around"),
        ([[-1e9, 4, 1e9, 4, 5, 9]], "a polygon of 4e[+]09 pixels around"),
        (SQUARE, ".*a single polygon stands in a list of its own"),
        ([{"size": [8, 10], "counts": [80]}], ".*an RLE stands without a list around it"),
        ({"size": [10, 8], "counts": [80]}, r"RLE size \[10, 8\] .*are exchanged"),
        ({"size": None, "counts": [80]}, r"RLE size is \[height, width\]; got null"),
        ({"size": [8, 10], "counts": None}, "RLE counts are .* got null"),
        ({"size": [8, 10], "counts": [[80]]}, "RLE counts are"),
        ({"size": [8, 10], "counts": [79.5, 0.5]}, "RLE counts are"),
        ({"size": [8, 10], "counts": [float("nan")]}, "RLE counts are"),
        ({"size": [8, 10], "counts": ["80"]}, "RLE counts are"),
        ({"size": [8, 10], "counts": [10**400]}, "RLE counts are"),
        ({"size": [8, 10], "counts": [2**63 - 1, 2**63 - 1, 82]}, "RLE count 9223372036854775807"),
        ({"size": [8, 10], "counts": "\u00e9"}, "character 'é' at 0"),
    ],
)
def test_what_is_malformed_is_named(segmentation: object, cause: str) -> None:
    with pytest.raises(MaskError, match=f"^instance 1: {cause}") as error:
        segmentations_to_runs([[SQUARE], segmentation], 8, 10)
    assert error.value.instance == 1
    again = pickle.loads(pickle.dumps(error.value))
    assert (again.cause, again.instance, str(again)) == (
        error.value.cause,
        1,
        str(error.value),
    )


def test_the_good_ones_are_read_and_the_others_named() -> None:
    masks, faults = parse_strings(["1 3", "x", "", "9 9"], 2, 5, order="row")
    assert masks.areas.tolist() == [3, 0]
    assert list(faults) == [1, 3]
    assert faults[1].startswith("pair 1: start 'x' is not an integer")
    assert parse_masks(lambda items: segmentations_to_runs(items, 8, 10), [[SQUARE]])[1] == {}


@given(
    st.lists(
        st.lists(st.floats(-40, 40, width=32), min_size=6, max_size=12).filter(
            lambda numbers: len(numbers) % 2 == 0
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_lies_outside_is_clipped_as_pycocotools_clips(polygons: list[list[float]]) -> None:
    (ours,) = segmentations_to_runs([polygons], 8, 10).to_coco()
    assert ours["counts"] == coco_mask.merge(coco_mask.frPyObjects(polygons, 8, 10))["counts"]


def test_far_outside_nothing_is_drawn() -> None:
    far = [[1e9, 1, 2e9, 1, 2e9, 4]], [[-1e300, -1e300, -1, -1, -2, -1]]
    assert segmentations_to_runs(far, 8, 10).areas.tolist() == [0, 0]


def test_what_polygons_are() -> None:
    assert is_polygons([SQUARE]) and is_polygons([]) and is_polygons([np.array(SQUARE)])
    assert not is_polygons(SQUARE) and not is_polygons({"counts": ""})


def test_contours_of_a_square_and_of_nothing() -> None:
    masks = segmentations_to_runs([[SQUARE], []], 8, 10)
    (outline,), nothing = contours(masks)
    assert {tuple(corner) for corner in outline.tolist()} == {(2, 1), (5, 1), (5, 3), (2, 3)}
    assert nothing == []


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 4), max_size=5))
def test_boxes_of_coco(corners: list[tuple[int, int, int, int]]) -> None:
    boxes = np.array(corners, dtype=np.int64).reshape(-1, 4)
    xywh = to_xywh(boxes)
    assert (xywh[:, :2] + xywh[:, 2:] == boxes[:, 2:]).all()
    assert (xywh[:, :2] == boxes[:, :2]).all()
    assert Runs.empty(3, 3).boxes.shape == to_xywh(Runs.empty(3, 3).boxes).shape
