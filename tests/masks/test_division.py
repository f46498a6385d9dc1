"""Pixels that masks share: what the runs give is what painting the whole picture gives."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.masks import Runs, division
from cellseg_mmdet.masks.division import divided

SEEDS = st.integers(0, 2**32 - 1)

HEIGHT, WIDTH = 23, 31


def drawn(seed: int, count: int) -> Runs:
    """Return rectangles, speckles, whole pictures and empty masks that overlap, in any order."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((count, WIDTH, HEIGHT), bool)  # as pixels are numbered
    for mask in dense:
        kind = rng.integers(5)
        x1, x2 = np.sort(rng.integers(0, WIDTH + 1, 2))
        y1, y2 = np.sort(rng.integers(0, HEIGHT + 1, 2))
        if kind < 3:
            mask[x1:x2, y1:y2] = rng.random((x2 - x1, y2 - y1)) < (1.0, 0.9, 0.4)[kind]
        elif kind == 3:
            mask[:] = True
    owner, pixels = np.nonzero(dense.reshape(count, HEIGHT * WIDTH))
    return Runs.from_pixels(pixels, owner, count, HEIGHT, WIDTH)


def painted(masks: Runs, worst_first: np.ndarray, nearest: bool) -> Runs:
    """Give each pixel of the picture away on one canvas."""
    canvas = np.full(HEIGHT * WIDTH, -1)
    best = np.full(HEIGHT * WIDTH, np.inf)
    pixels, owner = masks.pixels()
    x, y = np.divmod(pixels, HEIGHT)
    for index in worst_first.tolist():
        own = owner == index
        if not own.any():
            continue
        distance = np.zeros(len(pixels[own]))
        if nearest:
            distance = (x[own] - x[own].mean()) ** 2 + (y[own] - y[own].mean()) ** 2
        wins = distance <= best[pixels[own]]
        canvas[pixels[own][wins]] = index
        best[pixels[own][wins]] = distance[wins]
    held = np.flatnonzero(canvas >= 0)
    order = np.argsort(canvas[held], kind="stable")
    return Runs.from_pixels(held[order], canvas[held][order], len(masks), HEIGHT, WIDTH)


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 9), st.booleans(), st.sampled_from([1, 7, 1 << 19]))
def test_runs_give_what_the_whole_picture_gives(
    seed: int, count: int, nearest: bool, at_once: int
) -> None:
    masks = drawn(seed, count)
    worst_first = np.random.default_rng(seed).permutation(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(division, "_AT_ONCE", at_once)
        patch.setattr(division, "_LONGEST_PIECE_PX", at_once)
        found = divided(masks, worst_first, nearest=nearest)
    assert found == painted(masks, worst_first, nearest)


def test_what_is_disjoint_stays_as_it_is() -> None:
    masks = Runs.from_label_map(np.arange(1, 13).reshape(3, 4).repeat(2, 0))
    assert divided(masks, np.arange(12)) is masks
    empty = Runs.empty(0, 0)
    assert divided(empty, np.zeros(0, int)) is empty


@pytest.mark.parametrize("nearest", [False, True])
def test_memory_does_not_grow_with_the_picture(nearest: bool) -> None:
    side, count, length = 100_000, 400, 40
    rng = np.random.default_rng(0)
    corners = rng.integers(0, side - length, (count, 2))
    corners[1::2] = corners[::2] + length // 2  # each second one on the one before
    corners = corners.clip(0, side - length)
    starts = (corners[:, :1] + np.arange(length)) * side + corners[:, 1:]
    masks = Runs(
        starts.ravel(), np.full(starts.size, length), length * np.arange(count + 1), side, side
    )
    tracemalloc.start()
    try:
        found = divided(masks, np.arange(count), nearest=nearest)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.areas.sum() < masks.areas.sum()
    assert peak < 40e6  # one byte for each pixel would be 10 GB
