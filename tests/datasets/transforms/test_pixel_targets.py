"""Maps to train on, of cells whose rims are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from cellseg_mmdet.datasets import PackPixelTargets
from cellseg_mmdet.datasets.border_weights import border_weights
from cellseg_mmdet.datasets.transforms.pixel_targets import rims
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import RoIMasks

TWO = np.zeros((9, 14), np.int32)
TWO[1:8, 0:7], TWO[1:8, 7:13] = 1, 2


def pack(results, **arguments):
    return PackPixelTargets(**arguments)(results)["data_samples"]


def test_rim_is_where_a_cell_ends_but_not_where_the_image_does():
    expected = np.zeros_like(TWO)
    expected[1:8, 0:13] = 1
    expected[2:7, 0:6] = 0  # the left cell goes on beyond the image
    expected[2:7, 8:12] = 0
    assert np.array_equal(rims(TWO, 1), expected)
    expected[2, :], expected[6, :] = expected[1, :], expected[7, :]
    expected[2:7, 5] = expected[2:7, 8] = expected[2:7, 11] = 1
    assert np.array_equal(rims(TWO, 2), expected)


def test_maps(from_label_map):
    sample = pack(from_label_map(TWO))
    maps = sample.gt_pixels
    assert {name: (tuple(values.shape), values.dtype) for name, values in maps.items()} == {
        "foreground": ((1, 9, 14), torch.uint8),
        "boundary": ((1, 9, 14), torch.uint8),
        "weight": ((1, 9, 14), torch.float32),
    }
    assert np.array_equal(maps.foreground[0], TWO > 0)
    assert np.array_equal(maps.boundary[0], rims(TWO, 1))
    assert (maps.weight == 1).all()
    assert sample.gt_instances.labels.tolist() == [0, 1]  # what mmdet packs is there too
    assert isinstance(sample.gt_instances.bboxes, HorizontalBoxes)


def test_weights(from_label_map):
    weight = pack(
        from_label_map(TWO), class_weights=(0.5, 2.0), border=dict(w0=3.0, sigma_px=2.0)
    ).gt_pixels.weight[0]
    masks = RoIMasks.from_ndarray(np.stack([TWO == 1, TWO == 2]))
    expected = np.where(TWO > 0, 2.0, 0.5) + border_weights(masks, 3.0, 2.0)
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)


def test_cells_to_ignore_do_not_count(from_label_map):
    results = from_label_map(TWO)
    results["gt_ignore_flags"][1] = True
    maps = pack(results, border=dict(w0=10.0, sigma_px=5.0)).gt_pixels
    assert np.array_equal(maps.foreground[0], TWO == 1)
    assert np.array_equal(maps.weight[0], TWO != 2)


def test_no_cells(from_label_map):
    maps = pack(from_label_map(np.zeros((6, 8), np.int32)), border={}).gt_pixels
    assert not maps.foreground.any()
    assert not maps.boundary.any()
    assert (maps.weight == 1).all()


@pytest.mark.parametrize("wrong", [dict(boundary_px=0), dict(class_weights=(0.0, 1.0))])
def test_wrong_arguments(wrong):
    with pytest.raises(ConfigError, match="must be positive"):
        PackPixelTargets(**wrong)
