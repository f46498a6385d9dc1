"""Detectors worked on tile by tile: the instances of the whole picture, in its order, with its scores and masks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.tiling.detectors import TiledDetector, can_tile
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.scratch import Scratch
from tests.tiling.small_detectors import blobs, build, in_tiles, seen, whole

# Configuration, norm of the neck, and a seed whose weights draw masks of many sizes.
KINDS = {
    "mask-rcnn": ("mask-rcnn", "BN", 0),
    "mask-rcnn with group norm": ("mask-rcnn", "GN", 0),
    "cascade": ("cascade", "BN", 0),
    "htc": ("htc", "BN", 0),
    "ms-rcnn": ("ms-rcnn", "BN", 0),
    "rtmdet": ("rtmdet", "BN", 3),
}


@cache
def detector(
    kind: str, tile: int, dtype: torch.dtype = torch.float64, in_stages: bool | None = False
) -> TiledDetector:
    """Return a detector that computes in float64, so that the order of sums decides about no pixel."""
    return TiledDetector(build(*KINDS[kind], dtype=dtype), tile=tile, in_stages=in_stages)


def assert_same(found: ImagePrediction, expected: ImagePrediction, score_atol: float) -> None:
    assert len(found) == len(expected)
    assert np.array_equal(found.labels, expected.labels)
    assert np.allclose(found.scores, expected.scores, rtol=0, atol=score_atol)
    assert np.allclose(found.boxes, expected.boxes, rtol=0, atol=1e-3)
    assert found.masks == expected.masks


def both(
    kind: str,
    size_hw: tuple[int, int],
    tile: int,
    scale_yx: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    limit_bytes: float = 1e9,
    in_stages: bool = False,
) -> tuple[ImagePrediction, ImagePrediction]:
    tiled = detector(kind, 96, in_stages=in_stages)
    tiled.tile = tile
    image = seen(blobs(size_hw, seed), scale_yx)
    return in_tiles(tiled, image, limit_bytes), whole(tiled.model, image)


@pytest.mark.parametrize("in_stages", [False, True], ids=["in one", "in stages"])
def test_mask_rcnn_in_eight_tiles(in_stages: bool) -> None:
    found, expected = both("mask-rcnn", (150, 260), 96, in_stages=in_stages)
    assert len(expected) > 10
    assert len(np.unique(expected.masks.areas)) > 5
    assert_same(found, expected, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limit_bytes", "in_stages"),
    [(0, False), (1e9, False), (0, True)],
    ids=["in files", "in memory", "in stages"],
)
def test_every_kind_on_a_resized_picture(kind: str, limit_bytes: float, in_stages: bool) -> None:
    found, expected = both(
        kind, (130, 210), 160, (1.4, 1.6), limit_bytes=limit_bytes, in_stages=in_stages
    )
    assert len(expected) > 10
    assert len(np.unique(expected.masks.areas)) > 5
    assert_same(found, expected, 1e-12)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.sampled_from([kind for kind in KINDS if kind != "rtmdet"]),
    st.tuples(st.integers(20, 260), st.integers(20, 260)),
    st.integers(20, 300),
    st.floats(0.7, 1.7),
    st.integers(0, 1000),
    st.booleans(),
)
def test_any_picture_and_any_tiles(
    kind: str, size_hw: tuple[int, int], tile: int, scale: float, seed: int, in_stages: bool
) -> None:
    found, expected = both(kind, size_hw, tile, (scale, scale), seed, in_stages=in_stages)
    assert_same(found, expected, 1e-12)


@pytest.mark.slow
@settings(max_examples=5)
@given(
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    st.sampled_from([96, 128, 200]),
    st.integers(0, 1000),
    st.booleans(),
)
def test_rtmdet_on_any_picture(
    size_hw: tuple[int, int], tile: int, seed: int, in_stages: bool
) -> None:
    found, expected = both("rtmdet", size_hw, tile, (1.3, 1.3), seed, in_stages=in_stages)
    assert_same(found, expected, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_in_single_precision_scores_agree(kind: str) -> None:
    tiled = detector(kind, 96, torch.float32, None)
    image = seen(blobs((150, 260), 1))
    expected = whole(tiled.model, image)
    found = in_tiles(tiled, image)
    assert np.allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
    # A pixel whose probability is the threshold but for the last bits may fall on either side.
    assert abs(found.masks.areas - expected.masks.areas).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mask-rcnn", "rtmdet"])
def test_few_at_once(kind: str) -> None:
    tiled = TiledDetector(build(*KINDS[kind], dtype=torch.float64), tile=96)
    image = seen(blobs((150, 260)))
    at_once = in_tiles(tiled, image)
    tiled._bytes_at_once = 0
    assert_same(in_tiles(tiled, image), at_once, 1e-12)


def test_the_picture_is_read_by_windows() -> None:
    tiled = detector("mask-rcnn", 64)
    image = seen(blobs((150, 700)))
    sizes = []

    class Windows:
        size_hw = image.size_hw

        def read(self, y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
            sizes.append((y1 - y0, x1 - x0))
            return image.picture.read(y0, x0, y1, x1)

    with Scratch(limit_bytes=1e9) as scratch:
        tiled.instances(Windows(), image.size_hw, scratch)
    cost = tiled.cost((150, 700))
    before, behind = (-(-side // 32) * 32 for side in cost.context)
    assert max(width for _, width in sizes) == before + 64 + behind < 700
    assert len(sizes) == cost.tiles


def test_cost() -> None:
    tiled = detector("mask-rcnn", 256)
    cost = tiled.cost((512, 512))
    assert (cost.tiles, cost.passes, cost.pieces) == (4, 1, 1)
    before, behind = (-(-side // 32) * 32 for side in cost.context)
    assert cost.times == ((512 + before + behind) / 512) ** 2
    # 16 channels at strides 4, 8, 16 and 32 in float64
    assert cost.map_bytes == 16 * 8 * (128**2 + 64**2 + 32**2 + 16**2)
    assert tiled.cost((256, 256)).times == 1


def test_stages_are_tiled_one_by_one_where_that_is_less_work() -> None:
    tiled = TiledDetector(build("mask-rcnn"), tile=2048)
    assert tiled.cost((8192, 8192)).pieces == 1
    tiled.tile = 128
    cost = tiled.cost((1024, 1024))
    assert cost.pieces == 4  # three stages and the neck
    in_one = TiledDetector(tiled.model, tile=128, in_stages=False).cost((1024, 1024))
    assert cost.times < in_one.times
    # 8, 16 and 32 channels at strides 4, 8 and 16 on top of the features
    assert cost.map_bytes - in_one.map_bytes == 4 * (8 * 256**2 + 16 * 128**2 + 32 * 64**2)
    assert tiled.cost((128, 128)).times == 1


def test_without_room_for_what_stages_give_the_network_stays_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiled = TiledDetector(build("mask-rcnn"), tile=64)
    made = []
    work = NetworkPart.work
    monkeypatch.setattr(
        NetworkPart, "work", lambda self, *args: (made.append(self.name), work(self, *args))[1]
    )
    image = seen(blobs((150, 200)))
    in_tiles(tiled, image)
    assert made == ["stage 0", "stage 1", "stage 2", "neck", "rpn_head"]
    made.clear()
    monkeypatch.setattr(Scratch, "room_bytes", lambda _: 1000.0)
    in_tiles(tiled, image)
    assert made == ["network", "rpn_head"]


@pytest.mark.slow
def test_channel_attentions_of_stages_are_gathered_for_one_by_one() -> None:
    one, stages = (detector("rtmdet", 256, in_stages=each).cost((512, 512)) for each in (0, 1))
    assert (one.passes, stages.passes) == (5, 2)
    assert stages.times < one.times / 2


def test_tiles_for_a_budget() -> None:
    model = build("mask-rcnn")
    larger, smaller = (TiledDetector(model, budget_bytes=each) for each in (4e8, 2e8))
    assert larger.tile > smaller.tile > 0
    # Too little for the context of the network in one.
    stages = TiledDetector(model, budget_bytes=6e6)
    assert stages.cost((1024, 1024)).pieces == 4
    with pytest.raises(UsageError, match=r"smallest tile .*--memory"):
        TiledDetector(model, budget_bytes=1e4)


def test_nothing_found() -> None:
    model = build("mask-rcnn")
    model.roi_head.test_cfg.score_thr = 1.1
    image = seen(blobs((100, 140)))
    found = in_tiles(TiledDetector(model, tile=64), image)
    assert (len(found), len(whole(model, image))) == (0, 0)
    assert (found.height, found.width) == (100, 140)


def test_a_detector_that_is_not_known() -> None:
    init_default_scope("mmdet")
    cfg = get_config("mmdet::solo/solo_r50_fpn_1x_coco.py").model
    cfg.backbone.depth = 18
    assert can_tile(MODELS.build(cfg)) == "SOLO is no detector that is known to tiles"


def test_a_layer_whose_reach_the_picture_decides() -> None:
    model = build("mask-rcnn")
    convolution = model.backbone.layer2[0].conv1

    class DeformConv(type(convolution)):  # type: ignore[misc]
        pass

    convolution.__class__ = DeformConv
    reason = can_tile(model)
    assert reason is not None
    assert "backbone.layer2.0.conv1 (DeformConv)" in reason


def test_another_preprocessor() -> None:
    model = build("mask-rcnn")
    model.data_preprocessor = torch.nn.Identity()
    with pytest.raises(NotTiled, match="Identity"):
        TiledDetector(model)


def test_a_detector_that_can_be_tiled() -> None:
    assert can_tile(build("mask-rcnn", "GN")) is None
