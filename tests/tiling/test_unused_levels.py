"""Levels that no region looks at: their sums, which mmdet multiplies by 0, read nothing."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS

import cellseg_mmdet.models  # noqa: F401  (registers mmdet's parts)
from cellseg_mmdet.tiling.unused_levels import UnusedLevels


class Counted(torch.Tensor):
    """A level that counts how often it is summed."""

    sums = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.sum:
            cls.sums += 1
        return super().__torch_function__(func, types, args, kwargs or {})


def test_regions_of_one_level_get_the_same_features_and_no_other_level_is_summed() -> None:
    extractor = MODELS.build(
        dict(
            type="mmdet.SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=3, sampling_ratio=1),
            out_channels=2,
            featmap_strides=[4, 8],
        )
    )
    plain = [torch.rand(1, 2, 64 // stride, 64 // stride) for stride in (4, 8)]
    levels = [level.as_subclass(Counted) for level in plain]
    regions = torch.tensor([[0.0, 3, 5, 20, 30], [0, 10, 10, 40, 33]])
    expected = extractor(plain, regions)

    with UnusedLevels(levels):
        found = extractor(levels, regions)

    assert torch.equal(found, expected)
    assert Counted.sums == 0
    extractor(levels, regions)
    assert Counted.sums == 1  # what is spared


def test_other_sums_are_as_ever() -> None:
    level, other = torch.ones(1, 8, 4, 4), torch.ones(3)
    with UnusedLevels([level]):
        assert level.sum() == 0
        assert level.sum(dim=1).shape == (1, 4, 4)
        assert level[0].sum() == 128
        assert torch.sum(level) == 128
        assert other.sum() == 3
    assert level.sum() == 128
