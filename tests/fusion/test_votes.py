from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.fusion.votes import vote_masks
from cellseg_mmdet.masks import RoIMasks, Runs
from tests.fusion import reference

STRIPES = [
    RoIMasks.from_ndarray(np.array([[row]])).to_runs() for row in ([1, 1, 0, 0], [0, 1, 1, 0])
]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1, 1], [1, 1, 1, 0]),  # half is enough
        ([2, 1], [1, 1, 0, 0]),
        ([0.1, 0.3], [0, 1, 1, 0]),
        ([1e-100, 1e-100], [1, 1, 1, 0]),
    ],
)
def test_two_masks(weights: list[float], expected: list[int]) -> None:
    masks = vote_masks(STRIPES, np.array([[0, 0]]), np.array([weights]))
    assert RoIMasks.from_runs(masks).to_ndarray().tolist() == [[expected]]


def test_a_member_alone_keeps_its_mask() -> None:
    masks = vote_masks(STRIPES, np.array([[-1, 0], [0, -1]]), np.array([[0, 0.3], [0.7, 0]]))
    assert masks == Runs.concatenate(STRIPES[::-1])


@given(
    seed=st.integers(0, 2**32 - 1),
    num_sources=st.integers(1, 4),
    num_instances=st.integers(0, 6),
    density=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
def test_pixels_are_those_of_a_vote_on_bitmaps(
    seed: int, num_sources: int, num_instances: int, density: float
) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 9, 2)
    bitmaps = [
        (rng.random((num_instances, height, width)) < density).astype(np.uint8)
        for _ in range(num_sources)
    ]
    members = np.stack([rng.permutation(num_instances) for _ in bitmaps], axis=1)
    members[rng.random(members.shape) < 0.3] = -1
    members = members[(members >= 0).any(axis=1)]
    weights = np.where(members >= 0, rng.choice([0.1, 0.2, 0.3, 1], members.shape), 0)

    masks = vote_masks(
        [RoIMasks.from_ndarray(part).to_runs() for part in bitmaps], members, weights
    )
    expected = [
        reference.vote(
            [bitmaps[source][row[source]] for source in np.flatnonzero(row >= 0)], weight[row >= 0]
        )
        for row, weight in zip(members, weights, strict=True)
    ]
    assert len(masks) == len(members)
    dense = RoIMasks.from_runs(masks).to_ndarray()
    assert (dense == np.array(expected).reshape(dense.shape)).all()
    # As canonical as any: no two runs touch.
    assert masks == RoIMasks.from_ndarray(dense).to_runs()
