from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.masks import Runs, runs
from cellseg_mmdet.masks.label_bands import LabelBands


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 1 << 19])
)
def test_bands_are_the_rows_of_the_label_map(
    seed: int, height: int, num_rows: int, most: int
) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        Runs.from_label_map((rng.random((height, 7)) < rng.random()).astype(int)) for _ in range(4)
    ]
    masks = Runs.concatenate([Runs.empty(height, 7), *parts])
    ids = rng.permutation(len(masks)).astype(np.uint32) + 5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_MAX_PIXELS", most)
        whole = np.concatenate(list(LabelBands(masks).bands(num_rows)))
        named = np.concatenate(list(LabelBands(masks, ids).bands(num_rows)))
    expected = masks.to_label_map()
    np.testing.assert_array_equal(whole, expected)
    assert whole.dtype == np.int32 and named.dtype == np.uint32
    np.testing.assert_array_equal(named, np.concatenate([[0], ids])[expected])


def test_no_masks_are_background() -> None:
    assert not LabelBands(Runs.empty(3, 2)).rows(1, 3).any()
