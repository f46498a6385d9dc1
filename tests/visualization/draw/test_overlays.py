from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.label_bands import LabelBands
from cellseg_mmdet.visualization.draw import draw_instances
from cellseg_mmdet.visualization.draw.overlays import PALETTE_BGR, _color_indices


def checkerboard_labels(rows: int, columns: int, cell_px: int) -> np.ndarray:
    ids = np.arange(1, rows * columns + 1, dtype=np.int32).reshape(rows, columns)
    return ids.repeat(cell_px, axis=0).repeat(cell_px, axis=1)


def test_square_has_contour_of_its_colour_tint_inside_and_nothing_outside() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[5:15, 8:18] = 1
    drawing = draw_instances(
        np.full((20, 30), 100, np.uint8), Runs.from_label_map(labels), scale=1, opacity=0.5
    )

    color = drawing[5, 8]
    assert any((color == entry).all() for entry in PALETTE_BGR)
    edge = np.zeros((20, 30), bool)
    edge[5:15, 8:18] = True
    edge[6:14, 9:17] = False
    assert (drawing[edge] == color).all()
    inside = np.rint(50 + 0.5 * color.astype(float))
    assert np.abs(drawing[6:14, 9:17].astype(float) - inside).max() <= 1
    assert (drawing[labels == 0] == 100).all()


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_contour_is_one_pixel_of_the_drawing_at_any_scale(scale: int) -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 1
    drawing = draw_instances(np.zeros((20, 20), np.uint8), Runs.from_label_map(labels), scale=scale)
    assert drawing.shape == (20 * scale, 20 * scale, 3)
    color = drawing[5 * scale, 5 * scale]
    assert (drawing == color).all(axis=2).sum() == 4 * (10 * scale - 1)


def test_smaller_instance_stays_visible_on_a_larger_one_in_either_order() -> None:
    large, small = np.zeros((2, 20, 20), np.int32)
    large[2:18, 2:18] = 1
    small[8:12, 8:12] = 1
    parts = [Runs.from_label_map(large), Runs.from_label_map(small)]
    gray = np.zeros((20, 20), np.uint8)
    for order in (parts, parts[::-1]):
        drawing = draw_instances(gray, Runs.concatenate(order), scale=1, opacity=1.0)
        assert (drawing[9, 9] != drawing[3, 3]).any()


def test_neighbours_never_share_a_colour_and_all_colours_are_used() -> None:
    labels = checkerboard_labels(12, 12, cell_px=12)
    colors = _color_indices(LabelBands(Runs.from_label_map(labels)), 144).reshape(12, 12)
    for (row, column), color in np.ndenumerate(colors):
        around = colors[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert (around == color).sum() == 1
    assert (
        np.bincount(colors.ravel(), minlength=len(PALETTE_BGR)).min() > 144 / len(PALETTE_BGR) / 2
    )


def test_image_is_left_as_it_was_and_no_instance_draws_nothing() -> None:
    image = np.arange(600, dtype=np.uint8).reshape(20, 30)
    before = image.copy()
    drawing = draw_instances(image, Runs.empty(20, 30), scale=1)
    assert (drawing == image[:, :, None]).all()
    labels = np.ones((20, 30), np.int32)
    draw_instances(image, Runs.from_label_map(labels))
    assert (image == before).all()


def test_color_image_is_drawn_on() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 2] = 200
    drawing = draw_instances(image, Runs.empty(10, 10), scale=1)
    assert (drawing == image).all()


def test_wrong_size_and_wrong_type_are_refused() -> None:
    with pytest.raises(ValueError, match="masks of 10 x 12 pixels for an image of 10 x 10"):
        draw_instances(np.zeros((10, 10), np.uint8), Runs.empty(10, 12))
    with pytest.raises(ValueError, match="uint16"):
        draw_instances(np.zeros((10, 10), np.uint16), Runs.empty(10, 10))
