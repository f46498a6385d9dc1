"""The best of all tiles are the best of the whole map, in its order."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.tiling.candidates import Candidates, flat
from cellseg_mmdet.tiling.cover import Cover


@settings(max_examples=60)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 2),
    st.sampled_from([-1, 1, 4, 20]), st.integers(0, 99),
)  # fmt: skip
def test_best_of_tiles_in_the_order_of_the_whole(
    height: int, width: int, tile: int, anchors: int, classes: int, limit: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Few values: most are equal to others.
    maps = torch.randint(0, 4, (1, anchors * classes, height, width), generator=generator) / 4
    best = Candidates((height, width), num_anchors=anchors, limit=limit)
    for core, _ in Cover(height, width, tile=tile, context=0):
        scores = flat(maps[:, :, core.rows, core.columns], classes)
        best.add(core, scores, [scores])

    scores = flat(maps, classes).max(dim=1).values
    order = scores.sort(descending=True, stable=True).indices
    expected = order if limit < 0 else order[: limit + 1]
    assert best.places().tolist() == expected.sort().values.tolist()
    assert torch.equal(best.as_map(0)[..., 0].T, flat(maps, classes)[best.places()])
