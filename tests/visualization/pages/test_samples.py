from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.pages.samples import (
    Sample,
    class_colors,
    draw_sample,
    sample_gallery,
)
from tests.visualization.drawn import HEIGHT, WIDTH, rectangles

BOXES = np.array([[2, 2, 12, 12], [30, 5, 50, 25]], float)
# A drawing of 30 x 60 pixels is enlarged eight times, to 240 x 480.
SCALE = 8
GRAY = [100, 100, 100]
RED, BLUE = [0, 0, 255], [255, 0, 0]  # BGR


def sample(masks: Runs | None) -> Sample:
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    return Sample("image", image, BOXES, np.array([1, 0]), masks)


def mixed(color: list[int], share: float) -> list[float]:
    """Return the colour laid with an opacity over the image."""
    return [(1 - share) * base + share * over for base, over in zip(GRAY, color, strict=True)]


def test_boxes_and_masks_have_the_colours_of_their_classes() -> None:
    colors = class_colors(2, [(255, 0, 0), (0, 0, 255)])
    assert colors.tolist() == [RED, BLUE], "a palette is RGB, pictures are BGR"
    # The masks are smaller than their boxes by 2 pixels on each side.
    drawn = draw_sample(sample(rectangles((4, 4, 10, 10), (32, 7, 48, 23))), colors)
    assert drawn.shape == (HEIGHT * SCALE, WIDTH * SCALE, 3)
    for (x1, y1, x2, y2), color in zip((BOXES * SCALE).astype(int), (BLUE, RED), strict=True):
        for x, y in ((x1, y1), (x2 - 1, y2 - 1)):  # x2 and y2 are one past the last pixel
            assert drawn[y, x] == pytest.approx(mixed(color, 0.5), abs=1)
        margin = 2 * SCALE
        for x, y in ((x1 + margin, y1 + margin), (x2 - margin - 1, y2 - margin - 1)):
            assert drawn[y, x].tolist() == color, "a contour"
        assert drawn[(y1 + y2) // 2, (x1 + x2) // 2] == pytest.approx(mixed(color, 0.45), abs=1)
        assert drawn[y1 + SCALE, x1 + SCALE].tolist() == GRAY, "between box and contour"
        assert drawn[y2, x2].tolist() == GRAY


def test_large_image_is_scaled_down_with_its_boxes() -> None:
    large = Sample(
        "image",
        np.zeros((960, 480, 3), np.uint8),
        np.array([[100.0, 200, 300, 800]]),
        np.array([0]),
        None,
    )
    drawn = draw_sample(large, np.array([[0, 0, 200]], np.uint8))
    assert drawn.shape == (480, 240, 3)
    y, x = np.nonzero(drawn[:, :, 2])
    assert (x.min(), y.min(), x.max(), y.max()) == (50, 100, 149, 399)


def test_without_masks_boxes_alone_are_drawn() -> None:
    drawn = draw_sample(sample(None), class_colors(2))
    assert drawn[7 * SCALE, 7 * SCALE].tolist() == GRAY
    assert drawn[2 * SCALE, 2 * SCALE].tolist() != GRAY


def test_of_one_class_neighbours_differ() -> None:
    one_class = Sample(
        "image",
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        np.array([[0, 0, 10, 10], [10, 0, 20, 10]], float),
        np.array([0, 0]),
        rectangles((0, 0, 10, 10), (10, 0, 20, 10)),
    )
    drawn = draw_sample(one_class, class_colors(1))
    assert drawn[0, 0].tolist() != drawn[0, 15 * SCALE].tolist()


def test_gallery_shows_each_draw_and_names_the_classes() -> None:
    gallery = sample_gallery([[sample(None)] * 2] * 3, ["a < b", "cort"], [(1, 2, 3), (4, 5, 6)])
    assert gallery.count("<h4>image</h4>") == 3
    assert gallery.count("<img ") == gallery.count("2 cells, 30 x 60</figcaption>") == 6
    assert 'style="--series: rgb(1, 2, 3)"></span>a &lt; b' in gallery
    one_class = Sample("image", np.zeros((9, 9, 3), np.uint8), BOXES[:0], np.zeros(0, int), None)
    assert "<li>" not in sample_gallery([[one_class], []], ["cell"])
