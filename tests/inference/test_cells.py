from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.inference import Cells
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

CLASSES = ("astro", "cort")
# A square of 2 x 2, a column of 2 that shares its lower pixel with a row of 3.
PIXELS = np.array(
    [
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
    dtype=bool,
)


def runs(pixels: np.ndarray) -> Runs:
    instance, y, x = np.nonzero(pixels)
    height, width = pixels.shape[1:]
    return Runs.from_pixels(x * height + y, instance, len(pixels), height, width)


def prediction(scores: list[float]) -> ImagePrediction:
    masks = runs(PIXELS)
    labels = np.array([0, 1, 1, 0], dtype=np.int32)
    return ImagePrediction("a", 1, 3, 4, np.zeros((4, 4)), np.array(scores), labels, masks)


@pytest.fixture
def cells() -> Cells:
    return Cells.from_prediction(prediction([0.5, 0.7, 0.9, 1.0]), CLASSES)


def test_cells_come_by_falling_score_without_empty_ones(cells: Cells) -> None:
    assert len(cells) == 3
    assert cells.scores.tolist() == [0.9, 0.7, 0.5]
    assert cells.labels.tolist() == [1, 1, 0]
    assert cells.class_names == ["cort", "cort", "astro"]
    assert cells.name == "a" and cells.size_hw == (3, 4)


def test_boxes_and_areas_are_those_of_the_masks(cells: Cells) -> None:
    assert cells.boxes.tolist() == [[1, 2, 4, 3], [3, 1, 4, 3], [0, 0, 2, 2]]
    assert cells.areas_px.tolist() == [3, 2, 4]


def test_a_shared_pixel_goes_to_the_higher_score(cells: Cells) -> None:
    assert cells.label_map().tolist() == [[3, 3, 0, 0], [3, 3, 0, 2], [0, 1, 1, 1]]
    assert cells.label_map().dtype == np.int32
    # In any order of the cells: numbers are theirs.
    assert cells[::-1].label_map().tolist() == [[1, 1, 0, 0], [1, 1, 0, 2], [0, 3, 3, 3]]


def test_of_equal_scores_the_first_keeps_the_pixel() -> None:
    cells = Cells(runs(PIXELS[1:3]), np.ones(2), np.zeros(2, np.int64), CLASSES)
    assert cells.label_map()[2].tolist() == [0, 2, 2, 1]


def test_iteration_gives_each_cell(cells: Cells) -> None:
    found = list(cells)
    assert [cell.class_name for cell in found] == cells.class_names
    assert [cell.box_xyxy.tolist() for cell in found] == cells.boxes.tolist()
    assert [cell.mask for cell in found] == [cells.masks[[index]] for index in range(3)]
    assert isinstance(found[0].score, float) and found[0].label == 1


@pytest.mark.parametrize(
    ("index", "scores"),
    [
        (slice(1, None), [0.7, 0.5]),
        (np.array([True, False, True]), [0.9, 0.5]),
        ([2, 0], [0.5, 0.9]),
        ([], []),
        (slice(5, None), []),
    ],
    ids=["slice", "boolean", "integers", "none", "past the end"],
)
def test_some_of_them(cells: Cells, index: object, scores: list[float]) -> None:
    some = cells[index]
    assert some.scores.tolist() == scores and len(some.masks) == len(some.labels) == len(scores)
    assert (some.classes, some.name) == (CLASSES, "a")


def test_one_of_them(cells: Cells) -> None:
    assert cells[-1].score == 0.5 and cells[np.int64(0)].score == 0.9
    with pytest.raises(IndexError):
        cells[3]


def test_none_at_all() -> None:
    nothing = Cells.from_prediction(prediction([0.1, 0.2, 0.3, 0.4]).select(np.array([3])), CLASSES)
    assert len(nothing) == 0 and list(nothing) == []
    assert nothing.boxes.shape == (0, 4)
    assert nothing.label_map().tolist() == np.zeros((3, 4), int).tolist()
    assert repr(nothing) == "Cells(0 cells in 3 x 4 pixels)"


def test_repr_counts_by_class(cells: Cells) -> None:
    assert repr(cells) == "Cells(3 cells in 3 x 4 pixels: 1 astro, 2 cort)"
    assert repr(cells[:1]) == "Cells(1 cell in 3 x 4 pixels: 1 cort)"


def test_features_have_the_numbers_of_the_label_map(cells: Cells) -> None:
    features = cells.to_geojson(measurements={"Area px^2": cells.areas_px})["features"]
    measured = [feature["properties"]["measurements"] for feature in features]
    assert [row["Cell id"] for row in measured] == [1, 2, 3]
    assert [row["Score"] for row in measured] == cells.scores.tolist()
    assert [row["Area px^2"] for row in measured] == cells.areas_px.tolist()
    names = [feature["properties"]["classification"]["name"] for feature in features]
    assert names == cells.class_names
    for index, feature in enumerate(features):
        x, y = np.array(feature["geometry"]["coordinates"][0]).T
        assert [x.min(), y.min(), x.max(), y.max()] == cells.boxes[index].tolist()


def test_shared_pixels_may_go_to_another(cells: Cells) -> None:
    assert cells.label_map("smaller").tolist() == [[3, 3, 0, 0], [3, 3, 0, 2], [0, 1, 1, 2]]
