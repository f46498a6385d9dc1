"""What it means that two pipelines gave the same, one with `RoIMasks` and one with mmdet's masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import BaseBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import BaseDataElement


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, BitmapMasks):
        assert isinstance(found, BitmapMasks)
        shape = len(expected), expected.height, expected.width
        assert (len(found), found.height, found.width) == shape
        assert np.array_equal(found.to_ndarray(), expected.masks.reshape(shape))
    elif isinstance(expected, BaseBoxes):
        assert found.tensor.equal(expected.tensor)
    elif isinstance(expected, np.ndarray | torch.Tensor):
        assert found.dtype == expected.dtype
        assert np.array_equal(np.asarray(found), np.asarray(expected))
    elif isinstance(expected, BaseDataElement):
        assert_same(dict(found.all_items()), dict(expected.all_items()))
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
