from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.samples import Sample, class_colors, draw_sample, sample_sheets
from tests.visualization.drawn import HEIGHT, WIDTH, rectangles

BOXES = np.array([[2, 2, 12, 12], [30, 5, 50, 25]], float)


def sample(masks: Runs | None) -> Sample:
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    return Sample("image", image, BOXES, np.array([1, 0]), masks)


def test_boxes_and_contours_have_the_colours_of_their_classes() -> None:
    colors = class_colors(2, [(255, 0, 0), (0, 0, 255)])
    assert colors.tolist() == [[0, 0, 255], [255, 0, 0]], "a palette is RGB, pictures are BGR"
    # The masks are smaller than their boxes by 2 pixels on each side.
    drawn = draw_sample(sample(rectangles((4, 4, 10, 10), (32, 7, 48, 23))), colors)
    for x, y in ((2, 2), (11, 11), (4, 4), (9, 9)):
        assert drawn[y, x].tolist() == [255, 0, 0]
    for x, y in ((30, 5), (49, 24), (32, 7), (47, 22)):
        assert drawn[y, x].tolist() == [0, 0, 255]
    assert drawn[3, 3].tolist() == [100, 100, 100], "between box and contour lies the image"
    assert drawn[12, 12].tolist() == [100, 100, 100], "x2 and y2 are one past the last pixel"


def test_without_masks_boxes_alone_are_drawn() -> None:
    drawn = draw_sample(sample(None), class_colors(2))
    assert drawn[7, 7].tolist() == [100, 100, 100]
    assert drawn[2, 2].tolist() != [100, 100, 100]


def test_of_one_class_neighbours_differ() -> None:
    one_class = Sample(
        "image",
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        np.array([[0, 0, 10, 10], [10, 0, 20, 10]], float),
        np.array([0, 0]),
        rectangles((0, 0, 10, 10), (10, 0, 20, 10)),
    )
    drawn = draw_sample(one_class, class_colors(1))
    assert drawn[0, 0].tolist() != drawn[0, 15].tolist()


@pytest.mark.parametrize(("num_images", "num_sheets"), [(1, 1), (3, 1), (4, 2)])
def test_a_sheet_has_a_row_for_each_image(num_images: int, num_sheets: int) -> None:
    draws = [[sample(None)] * 2 for _ in range(num_images)]
    sheets = sample_sheets(draws, ["astro", "cort"])
    assert len(sheets) == num_sheets
    assert sheets[0].shape[1] > 2 * 480
