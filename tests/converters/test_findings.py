from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg_mmdet.converters.findings import find_pieces
from cellseg_mmdet.masks import Runs


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7))))
def test_pieces_are_those_of_each_bitmap(bitmaps: np.ndarray) -> None:
    instance, y, x = np.nonzero(bitmaps)
    _, height, width = bitmaps.shape
    masks = Runs.from_pixels(x * height + y, instance, len(bitmaps), height, width)
    expected = []
    for index, bitmap in enumerate(bitmaps):
        count = cv2.connectedComponents(bitmap.astype(np.uint8), connectivity=8)[0] - 1
        if count > 1:
            expected.append((str(index), count))
    found = find_pieces(masks, [str(index) for index in range(len(bitmaps))], "a")
    assert [(one.source, int(one.detail.split()[0])) for one in found] == expected
