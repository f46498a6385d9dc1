from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.visualization.draw.sheets import sheet


def contains(picture: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    """Return the places (x, y) where one picture shows another one."""
    height, width = part.shape[:2]
    return [
        (x, y)
        for y in range(picture.shape[0] - height + 1)
        for x in range(picture.shape[1] - width + 1)
        if (picture[y, x] == part[0, 0]).all()
        and (picture[y : y + height, x : x + width] == part).all()
    ]


def test_pictures_lie_in_rows_in_columns_of_one_width() -> None:
    rng = np.random.default_rng(0)
    sizes = [(10, 20), (14, 12), (8, 30), (16, 16), (9, 9)]
    parts = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    drawn = sheet([(str(number), part) for number, part in enumerate(parts)], columns=2)
    places = [contains(drawn, part) for part in parts]
    assert all(len(found) == 1 for found in places)
    xs, ys = zip(*(found[0] for found in places), strict=True)
    assert xs[0] == xs[2] == xs[4] < xs[1] == xs[3]
    assert ys[0] == ys[1] < ys[2] == ys[3] < ys[4]
    assert xs[1] - xs[0] >= 30, "the third picture is wider than the first"


def test_title_in_colours_and_one_that_is_too_long_stay_in_the_frame() -> None:
    blank = np.zeros((20, 120, 3), np.uint8)
    drawn = sheet([([("red ", (0, 0, 255)), ("green", (0, 255, 0))], blank)], columns=1)
    title = drawn[:30].astype(int)
    assert (title[:, :, 2] - title[:, :, 1] > 100).any()
    assert (title[:, :, 1] - title[:, :, 2] > 100).any()
    long = sheet([("a title of many letters that is far too long", blank)], columns=1)
    assert (long[:30, -3:] == long[0, 0]).all()


def test_sheet_without_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="one picture at least"):
        sheet([], columns=3)
