from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.measure.neighbours import neighbours_of
from tests.measure.cells import masks_of


def squares(
    *places: tuple[int, int], side: int = 3, size_hw: tuple[int, int] = (40, 40)
) -> RoIMasks:
    bitmaps = np.zeros((len(places), *size_hw), np.uint8)
    for bitmap, (y, x) in zip(bitmaps, places, strict=True):
        bitmap[y : y + side, x : x + side] = 1
    return masks_of(*bitmaps)


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
    st.sampled_from([(1.0, 1.0), (0.5, 1.7)]),
    st.sampled_from([0.0, 1.0, 5.0]),
)
def test_distances_are_those_of_all_pixels(
    seed: int, count: int, spacing_yx: tuple[float, float], within: float
) -> None:
    rng = np.random.default_rng(seed)
    bitmaps = np.zeros((count, 25, 31), bool)
    for bitmap in bitmaps:
        y, x, height, width = *rng.integers(0, 25, 2), *rng.integers(1, 12, 2)
        bitmap[y : y + height, x : x + width] = (
            rng.random(bitmap[y : y + height, x : x + width].shape) < 0.7
        )
    found = neighbours_of(masks_of(*bitmaps), within, spacing_yx)
    pixels = [np.argwhere(bitmap) * spacing_yx for bitmap in bitmaps]
    for index, own in enumerate(pixels):
        distances = [
            cdist(own, others).min()
            for other, others in enumerate(pixels)
            if other != index and len(own) and len(others)
        ]
        assert found["neighbours"][index] == sum(d <= within for d in distances)
        expected = min(distances, default=np.nan)
        assert found["nearest"][index] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("other", "distance"),
    [((5, 8), 1), ((8, 8), 2**0.5), ((5, 9), 2), ((6, 6), 0), ((5, 5), 0), ((5, 28), 21)],
    ids=["edge", "corner", "gap", "overlap", "same", "far"],
)
def test_two_squares(other: tuple[int, int], distance: float) -> None:
    found = neighbours_of(squares((5, 5), other), within=2.0)
    assert found["nearest"] == pytest.approx([distance, distance])
    assert found["neighbours"].tolist() == [int(distance <= 2)] * 2


def test_a_cell_inside_another_one_is_at_its_side() -> None:
    outer, inner = np.ones((11, 11), bool), np.zeros((11, 11), bool)
    outer[2:9, 2:9] = False
    inner[5, 5] = True
    assert neighbours_of(masks_of(outer, inner))["nearest"].tolist() == [4, 4]
    whole = np.ones((11, 11), bool)  # no border pixel of the one is one of the other
    assert neighbours_of(masks_of(whole, inner))["nearest"].tolist() == [0, 0]


def test_none_one_and_cells_without_a_pixel() -> None:
    assert neighbours_of(RoIMasks.from_runs(Runs.empty(3, 3)))["neighbours"].tolist() == []
    alone = neighbours_of(squares((1, 1)))
    assert alone["neighbours"].tolist() == [0] and np.isnan(alone["nearest"][0])
    with_empty = neighbours_of(masks_of(np.eye(4), np.zeros((4, 4))))
    assert with_empty["neighbours"].tolist() == [0, 0] and np.isnan(with_empty["nearest"]).all()


def test_a_grid_of_cells_has_four_neighbours_each_and_eight_with_corners() -> None:
    places = [(2 + 5 * row, 2 + 5 * column) for row in range(6) for column in range(6)]
    counts = neighbours_of(squares(*places), within=3.0)["neighbours"].reshape(6, 6)
    assert counts[1:-1, 1:-1].tolist() == [[4] * 4] * 4
    assert counts[0, 0] == 2
    counts = neighbours_of(squares(*places), within=4.3)["neighbours"].reshape(6, 6)
    assert counts[1:-1, 1:-1].tolist() == [[8] * 4] * 4
