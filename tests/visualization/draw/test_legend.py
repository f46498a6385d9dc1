from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.draw import draw_instances
from cellseg_mmdet.visualization.draw.legend import (
    BACKGROUND_BGR,
    INK_BGR,
    Entry,
    ScaleBar,
    legend,
    scale_bar,
)
from cellseg_mmdet.visualization.draw.overlays import Drawing
from cellseg_mmdet.visualization.draw.png import PngStream


@pytest.mark.parametrize(
    ("width_px", "um_per_px", "expected"),
    [
        (1000, 0.25, ScaleBar(200, "50 um")),
        (400, 1, ScaleBar(100, "100 um")),
        (400, 0.0009, ScaleBar(56, "0.05 um")),
        (4000, 5, ScaleBar(1000, "5 mm")),
        (800, 1, ScaleBar(200, "200 um")),
        (1, 1, None),
        (100, float("inf"), None),
    ],
)
def test_bars_are_round_and_in_a_quarter_of_the_width(
    width_px: int, um_per_px: float, expected: ScaleBar | None
) -> None:
    assert scale_bar(width_px, um_per_px) == expected


def test_a_bar_is_as_long_as_it_says() -> None:
    drawn = legend(300, [Entry("cell: 5")], ScaleBar(70, "50 um"))
    assert drawn.shape[1:] == (300, 3)
    longest = max(
        len(run) for row in (drawn == INK_BGR).all(axis=2) for run in runs_of(row) if len(run)
    )
    assert longest == 70


def runs_of(row: np.ndarray) -> list[np.ndarray]:
    return [part for part in np.split(row, np.flatnonzero(np.diff(row)) + 1) if part[0]]


def test_entries_have_swatches_and_as_many_lines_as_they_need() -> None:
    entries = [Entry(f"class {number}: 12", (number, 200, 7)) for number in range(5)]
    wide, narrow = legend(1000, entries), legend(150, entries)
    assert narrow.shape[0] > wide.shape[0]
    for drawn in (wide, narrow):
        for entry in entries:
            assert (drawn == entry.bgr).all(axis=2).sum() == 144
    assert (legend(1, entries, ScaleBar(1, "1 um"))[0, 0] == BACKGROUND_BGR).all()


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_bands_of_a_drawing_have_no_seams(rows: int, scale: int) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (31, 23, 3), dtype=np.uint8)
    masks = Runs.from_label_map(random.integers(0, 6, (8, 6)).repeat(4, 0).repeat(4, 1)[:31, :23])
    whole = draw_instances(image, masks, scale=scale)
    drawing = Drawing(masks, scale=scale)
    file = io.BytesIO()
    stream = PngStream(file, *whole.shape[:2])
    for begin in range(0, 31, rows):
        stream.add(drawing.rows(begin, min(begin + rows, 31), lambda y0, y1: image[y0:y1]))
    stream.close()
    found = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    # Thirds are no binary numbers: OpenCV rounds them by the row that they are counted from.
    assert np.abs(found.astype(int) - whole).max() <= (scale == 3)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        np.testing.assert_array_equal(np.asarray(opened)[..., ::-1], found)


def test_rows_that_do_not_fit_are_refused() -> None:
    stream = PngStream(io.BytesIO(), 2, 3)
    with pytest.raises(ValueError, match="left are 2 of 3 x 3"):
        stream.add(np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="2 rows are missing"):
        stream.close()
