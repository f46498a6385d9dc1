from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.converters.splits import assign_folds, describe_folds
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord


def image(cell_type: str = "cort", group: str | None = None) -> ImageRecord:
    return ImageRecord("image.png", 4, 4, Runs.empty(4, 4), (), cell_type, group)


@given(st.integers(2, 5), st.integers(5, 40), st.integers(5, 40), st.integers(0, 9))
def test_every_cell_type_is_spread_evenly(
    num_folds: int, num_astro: int, num_cort: int, seed: int
) -> None:
    records = [image("astro")] * num_astro + [image("cort")] * num_cort
    folds = assign_folds(records, num_folds, seed=seed)
    for members in (folds[:num_astro], folds[num_astro:]):
        per_fold = np.bincount(members, minlength=num_folds)
        assert per_fold.max() - per_fold.min() <= 1


@given(st.lists(st.sampled_from("abcdefgh"), min_size=20, max_size=40), st.integers(0, 9))
def test_groups_are_never_cut(groups: list[str], seed: int) -> None:
    records = [image(group=group) for group in groups]
    num_groups = len(set(groups))
    if num_groups < 2:
        return
    folds = assign_folds(records, min(num_groups, 3), seed=seed)
    for group in set(groups):
        assert len({fold for fold, name in zip(folds, groups, strict=True) if name == group}) == 1
    assert set(folds) == set(range(min(num_groups, 3)))


def test_seed_decides() -> None:
    records = [image()] * 30
    same, again, other = (assign_folds(records, 5, seed=seed).tolist() for seed in (0, 0, 1))
    assert same == again != other
    assert Counter(other) == Counter(dict.fromkeys(range(5), 6))


@pytest.mark.parametrize(
    ("num_folds", "message"), [(1, "at least 2"), (3, "found 2 among 4 images")]
)
def test_impossible_splits(num_folds: int, message: str) -> None:
    records = [image(group="a"), image(group="a"), image(group="b"), image(group="b")]
    with pytest.raises(UsageError, match=message):
        assign_folds(records, num_folds)


def test_folds_without_groups_are_not_told() -> None:
    records = [image("astro")] * 4
    assert describe_folds(records, assign_folds(records, 2)) == []


def test_an_image_without_a_group_counts_as_one() -> None:
    records = [image("astro", "a"), image("cort", "a"), image("cort"), image("cort")]
    groups, first, second = describe_folds(records, np.array([0, 0, 1, 1]))
    assert groups == "3 groups of 1 to 2 images"
    assert first == "fold 0: 2 images of 1 groups, 1 astro, 1 cort; 0 cells"
    assert second == "fold 1: 2 images of 2 groups, 2 cort; 0 cells"
