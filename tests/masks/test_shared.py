from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg_mmdet.masks import Runs, shared
from cellseg_mmdet.masks.shared import Overlap, overlaps, shared_by_masks

BITMAPS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 6)))


def runs_of(bitmaps: np.ndarray) -> Runs:
    instance, x, y = np.nonzero(bitmaps.transpose(0, 2, 1))
    number, height, width = bitmaps.shape
    return Runs.from_pixels(x * height + y, instance, number, height, width)


def brute_force(bitmaps: np.ndarray) -> dict[tuple[int, int], int]:
    number = len(bitmaps)
    areas = {
        (first, second): int((bitmaps[first] & bitmaps[second]).sum())
        for second in range(number)
        for first in range(second)
    }
    return {pair: area for pair, area in areas.items() if area}


@given(BITMAPS)
def test_few_are_all_pairs(bitmaps: np.ndarray) -> None:
    masks = runs_of(bitmaps)
    found = list(overlaps(masks))
    assert {one[:2]: one.area for one in found} == brute_force(bitmaps)
    assert [one[:3] for one in found] == list(shared_by_masks(masks).pairs())
    assert all(one.more == 0 for one in found)


@given(BITMAPS)
def test_of_many_each_later_one_is_told_once(bitmaps: np.ndarray) -> None:
    expected = brute_force(bitmaps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "_MAX_TOLD", -1)
        found = list(overlaps(runs_of(bitmaps)))
    partners = {later: [pair[0] for pair in expected if pair[1] == later] for _, later in expected}
    assert {one.later: one.earlier for one in found} == {
        later: min(those) for later, those in partners.items()
    }
    assert {one.later: one.more for one in found} == {
        later: len(those) - 1 for later, those in partners.items()
    }
    assert all(one.area == expected[one[:2]] for one in found)


@given(BITMAPS)
def test_of_too_many_pairs_of_runs_some_are_told_and_all_of_them_are_pairs(
    bitmaps: np.ndarray,
) -> None:
    expected = brute_force(bitmaps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "_MAX_EXACT_PAIRS", 0)
        found = list(overlaps(runs_of(bitmaps)))
    assert bool(found) == bool(expected)
    assert len({one.later for one in found}) == len(found)
    for one in found:
        assert one.area <= expected[one[:2]]
    # What shares a pixel with another is in a pair, unless only in places where a third one is too.
    told = {index for one in found for index in one[:2]}
    counts = bitmaps.sum(axis=0)
    for first, second in expected:
        alone = (bitmaps[first] & bitmaps[second] & (counts == 2)).any()
        assert not alone or {first, second} & told


def test_ten_thousand_in_one_place() -> None:
    bitmap = np.zeros((1, 20, 20), bool)
    bitmap[0, 2:18, 2:18] = True
    one = runs_of(bitmap)
    found = list(overlaps(Runs.concatenate([one] * 10_000)))
    assert [overlap.later for overlap in found] == list(range(1, 10_000))
    assert all(overlap.area == 256 and overlap.more is None for overlap in found)


def test_in_words() -> None:
    assert Overlap(0, 1, 1, 0).told("a") == "shares 1 pixel with a"
    assert Overlap(0, 1, 2, 1).told("a") == (
        "shares 2 pixels with a, and pixels with 1 other before it"
    )
    assert Overlap(0, 1, 2, None).told("a") == (
        "shares 2 pixels or more with a, and maybe pixels with others"
    )
