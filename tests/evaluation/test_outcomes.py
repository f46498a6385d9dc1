from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.evaluation.kaggle_map import count_hits
from cellseg_mmdet.evaluation.outcomes import find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.pages.outcomes import COLORS_RGB, draw_outcomes
from tests.visualization.drawn import HEIGHT, WIDTH, rectangles

# Name -> true boxes, predicted boxes, what became of the true, and of the predicted cells.
SCENES = {
    "exact": ([(0, 0, 10, 10)], [(0, 0, 10, 10)], ["hit"], ["hit"]),
    # 60 of 100 pixels: IoU 0.6.
    "part": ([(0, 0, 10, 10)], [(0, 0, 6, 10)], ["hit"], ["hit"]),
    # 50 of 100 pixels: an IoU of exactly 0.5 is no hit, as to the metric.
    "half": ([(0, 0, 10, 10)], [(0, 0, 5, 10)], ["missed"], ["extra"]),
    "nothing there": ([], [(0, 0, 5, 5)], [], ["extra"]),
    "nothing found": ([(0, 0, 5, 5)], [], ["missed"], []),
    "elsewhere": ([(0, 0, 5, 5)], [(20, 20, 25, 25)], ["missed"], ["extra"]),
    "split in two": (
        [(0, 0, 20, 10)],
        [(0, 0, 10, 10), (10, 0, 20, 10)],
        ["split"],
        ["split", "split"],
    ),
    # Two pieces that fill 60 of 200 pixels do not make the cell.
    "two crumbs": (
        [(0, 0, 20, 10)],
        [(0, 0, 3, 10), (10, 0, 13, 10)],
        ["missed"],
        ["extra", "extra"],
    ),
    # IoU 0.75 with the larger piece: the cell is found, the smaller piece is split off.
    "hit and a piece": (
        [(0, 0, 20, 10)],
        [(0, 0, 15, 10), (15, 0, 20, 10)],
        ["hit"],
        ["hit", "split"],
    ),
    "merged": (
        [(0, 0, 10, 10), (10, 0, 20, 10)],
        [(0, 0, 20, 10)],
        ["merged", "merged"],
        ["merged"],
    ),
    # IoU 0.75 with the larger cell, which is found; the smaller one went into it.
    "hit and swallowed": (
        [(0, 0, 15, 10), (15, 0, 20, 10)],
        [(0, 0, 20, 10)],
        ["hit", "merged"],
        ["hit"],
    ),
    # A huge region over two cells is no merged cell: they fill 50 of its 600 pixels.
    "flood": (
        [(0, 0, 5, 5), (20, 0, 25, 5)],
        [(0, 0, 60, 10)],
        ["missed", "missed"],
        ["extra"],
    ),
    # Three in one, beside a hit.
    "several": (
        [(0, 0, 10, 10), (10, 0, 20, 10), (20, 0, 30, 10), (40, 0, 50, 10)],
        [(0, 0, 30, 10), (41, 0, 50, 10)],
        ["merged", "merged", "merged", "hit"],
        ["merged", "hit"],
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_outcomes_of_drawn_scenes(name: str) -> None:
    true, predicted, of_true, of_predicted = SCENES[name]
    outcomes = find_outcomes(Overlaps(rectangles(*predicted), rectangles(*true)))
    assert outcomes.true.tolist() == of_true
    assert outcomes.predicted.tolist() == of_predicted


def test_best_iou_of_each_predicted_cell_is_one_to_one() -> None:
    true = rectangles((0, 0, 10, 10))
    predicted = rectangles((0, 0, 6, 10), (6, 0, 10, 10), (30, 0, 40, 10))
    outcomes = find_outcomes(Overlaps(predicted, true))
    assert outcomes.iou.tolist() == [0.6, 0.0, 0.0]


def test_every_cell_has_one_outcome_and_hits_are_those_of_the_metric() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        true, predicted = (_random_labels(rng) for _ in range(2))
        overlaps = Overlaps(Runs.from_label_map(predicted), Runs.from_label_map(true))
        outcomes = find_outcomes(overlaps)
        assert set(outcomes.true) <= {"hit", "missed", "split", "merged"}
        assert set(outcomes.predicted) <= {"hit", "extra", "split", "merged"}
        hits = count_hits(overlaps.pairs)[0]
        assert (outcomes.true == "hit").sum() == (outcomes.predicted == "hit").sum() == hits
        counts = outcomes.counts()
        assert sum(counts.values()) - counts["extra"] == len(overlaps.true)


def test_errors_are_drawn_in_their_colours_where_they_are() -> None:
    true = rectangles((0, 0, 10, 10), (20, 0, 40, 10), (0, 15, 10, 25), (10, 15, 20, 25))
    predicted = rectangles(
        (20, 0, 30, 10), (30, 0, 40, 10), (0, 15, 20, 25), (45, 15, 55, 25), (45, 0, 50, 5)
    )
    true = Runs.concatenate([true, rectangles((45, 15, 55, 25))])
    picture = draw_outcomes(np.zeros((HEIGHT, WIDTH), np.uint8), Overlaps(predicted, true), scale=1)

    def color_at(x: int, y: int) -> tuple[int, ...]:
        return tuple(picture[y, x, ::-1].tolist())

    assert color_at(9, 9) == COLORS_RGB["missed"]
    # The pieces of a split and the cells of a merged one have a border between them.
    assert color_at(29, 5) == color_at(30, 5) == COLORS_RGB["split"]
    assert color_at(9, 20) == color_at(10, 20) == COLORS_RGB["merged"]
    assert color_at(45, 3) == COLORS_RGB["extra"]
    assert color_at(45, 15) == COLORS_RGB["hit"]
    assert color_at(50, 20) == (0, 0, 0), "a hit is not filled"
    assert color_at(5, 5) != (0, 0, 0), "an error is"
    assert color_at(58, 28) == (0, 0, 0)


def _random_labels(rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    for number in range(1, 15):
        x, y = rng.integers(0, WIDTH - 8), rng.integers(0, HEIGHT - 8)
        width, height = rng.integers(3, 14, 2)
        labels[y : y + height, x : x + width] = number
    return labels
