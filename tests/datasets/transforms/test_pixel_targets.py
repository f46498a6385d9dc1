"""Maps to train on, as a code encodes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes

from cellseg_mmdet.datasets import PackPixelTargets
from cellseg_mmdet.datasets.border_weights import border_weights
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.pixel_codes import build_pixel_code

TWO = np.zeros((9, 14), np.int32)
TWO[1:8, 0:7], TWO[1:8, 7:13] = 1, 2
RIMS = dict(type="RimCode", rim_px=1)


def pack(results: dict[str, Any], **arguments: Any) -> DetDataSample:
    return PackPixelTargets(**{"code": RIMS} | arguments)(results)["data_samples"]


@pytest.mark.parametrize("code", [RIMS, dict(type="FlowCode")])
def test_maps(from_label_map, code: dict[str, Any]):
    sample = pack(from_label_map(TWO), code=code)
    expected = build_pixel_code(code).encode_labels(TWO)
    maps = sample.gt_pixels
    assert set(maps.keys()) == {"maps", "weights", "classes"}
    np.testing.assert_array_equal(maps.maps, expected.maps)
    np.testing.assert_array_equal(maps.weights, expected.weights)
    assert maps.classes.dtype == torch.uint8
    assert np.array_equal(maps.classes[0], TWO)  # labels 0 and 1, and 0 for background
    assert maps.code == code["type"]
    assert sample.gt_instances.labels.tolist() == [0, 1]  # what mmdet packs is there too
    assert isinstance(sample.gt_instances.bboxes, HorizontalBoxes)


def test_weights(from_label_map):
    border = dict(w0=3.0, sigma_px=2.0)
    weights = pack(from_label_map(TWO), class_weights=(0.5, 2.0), border=border).gt_pixels.weights
    masks = RoIMasks.from_ndarray(np.stack([TWO == 1, TWO == 2]))
    expected = np.where(TWO > 0, 2.0, 0.5) + border_weights(masks, 3.0, 2.0)
    for weight in weights:
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)


def test_cells_to_ignore_do_not_count(from_label_map):
    results = from_label_map(TWO)
    results["gt_ignore_flags"][1] = True
    maps = pack(results, border=dict(w0=10.0, sigma_px=5.0)).gt_pixels
    assert np.array_equal(maps.maps[0], TWO == 1)
    assert np.array_equal(maps.classes[0], TWO == 1)
    for weight in maps.weights:
        assert np.array_equal(weight, TWO != 2)


def test_no_cells(from_label_map):
    maps = pack(from_label_map(np.zeros((6, 8), np.int32)), border={}).gt_pixels
    assert not maps.maps.any()
    assert not maps.classes.any()
    assert (maps.weights == 1).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(class_weights=(0.0, 1.0)), "must be positive"),
        (dict(code=dict(type="NoCode")), "NoCode"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        PackPixelTargets(**{"code": RIMS} | wrong)
