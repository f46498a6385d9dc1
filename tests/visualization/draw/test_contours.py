from __future__ import annotations

import cv2
import numpy as np
import pytest

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.polygons import contours
from cellseg_mmdet.visualization.draw.contours import draw_contours


def square(*, hole: bool = False) -> Runs:
    labels = np.zeros((20, 30), np.int32)
    labels[5:15, 8:18] = 1
    if hole:
        labels[8:12, 11:15] = 0
    return Runs.from_label_map(labels)


def test_polygon_of_a_square_is_its_corner_pixels() -> None:
    ((outline,),) = contours(square())
    assert {tuple(corner) for corner in outline.tolist()} == {(8, 5), (8, 14), (17, 14), (17, 5)}


def test_hole_is_a_polygon_of_its_own_and_no_pixel_no_polygon() -> None:
    empty = Runs.from_pixels(np.zeros(0, int), np.zeros(0, int), 1, 20, 30)
    with_hole, nothing = contours(Runs.concatenate([square(hole=True), empty]))
    assert len(with_hole) == 2
    assert nothing == []


def test_filled_polygons_are_the_masks_again() -> None:
    rng = np.random.default_rng(0)
    labels = cv2.resize(rng.integers(0, 4, (8, 8)).astype(np.uint8), (64, 48), interpolation=0)
    masks = Runs.from_label_map(labels.astype(np.int32))
    for index, outlines in enumerate(contours(masks)):
        outer_first = cv2.drawContours(np.zeros((48, 64), np.uint8), outlines, -1, 1, cv2.FILLED)
        # OpenCV's filled contours hold the pixels of the outline of a hole as well.
        assert ((outer_first > 0) >= (masks[[index]].to_label_map() > 0)).all()


def test_found_lines_are_the_outermost_pixels() -> None:
    color = np.array([[10, 20, 30]], np.uint8)
    picture = draw_contours(np.zeros((20, 30), np.uint8), square(), colors=color, scale=1)
    expected = np.zeros((20, 30), bool)
    expected[5:15, 8:18] = True
    expected[6:14, 9:17] = False
    assert ((picture == color[0]).all(axis=2) == expected).all()
    assert (picture[~expected] == 0).all()


@pytest.mark.parametrize("scale", [1, 2])
def test_canny_lines_lie_on_the_border_and_nowhere_else(scale: int) -> None:
    picture = draw_contours(np.zeros((20, 30), np.uint8), square(), method="canny", scale=scale)
    line = picture.any(axis=2)
    inside = np.zeros((20 * scale, 30 * scale), np.uint8)
    inside[5 * scale : 15 * scale, 8 * scale : 18 * scale] = 1
    border = cv2.dilate(inside, np.ones((3, 3))) - cv2.erode(inside, np.ones((3, 3)))
    assert not (line & (border == 0)).any()
    # Nearly all around: Canny rounds the corners off.
    assert line.sum() >= 4 * (10 * scale - 1) - 8


@pytest.mark.parametrize(("method", "num_lines"), [("find", 2), ("canny", 1)])
def test_touching_neighbours_have_a_line_between_them(method: str, num_lines: int) -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 2
    blank, masks = np.zeros((20, 30), np.uint8), Runs.from_label_map(labels)
    picture = draw_contours(blank, masks, method=method)
    assert picture[20, 27:33].any(axis=1).sum() == num_lines


def test_unknown_method_and_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="'sobel': must be one of 'find', 'canny'"):
        draw_contours(np.zeros((20, 30), np.uint8), square(), method="sobel")
    with pytest.raises(ValueError, match="masks of 20 x 30 pixels for an image of 10 x 10"):
        draw_contours(np.zeros((10, 10), np.uint8), square())
