"""Tiles give the cells of the whole picture: the same masks, and scores within 1e-5."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.tiling import NotLocalError
from cellseg_mmdet.tiling.pictures import ArrayPicture
from cellseg_mmdet.tiling.pixel import TiledPixelDetector
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.scratch import Scratch
from tests.tiling.networks import lite_detector, unet_detector

MAKERS: dict[str, Any] = {
    "lite flow": lambda: lite_detector("FlowCode"),
    "lite rim, 2 classes": lambda: lite_detector("RimCode", num_classes=2, soft_masks=True),
    "u-net flow": lambda: unet_detector("FlowCode"),
    "u-net without padding": lambda: unet_detector("BoundaryDistanceCode", padding="valid"),
    "u-net with attention": lambda: unet_detector(
        "RimCode", type="ResidualAttentionUNet", dropout=0.0
    ),
}


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Return blobs of some pixels, (H, W, 3) uint8."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.rint(127 + 300 * smooth).clip(0, 255).astype(np.uint8)


def whole(detector: PixelDetector, pixels: np.ndarray, size_hw: tuple[int, int]) -> InstanceData:
    sample = DetDataSample(metainfo=dict(img_shape=pixels.shape[:2], ori_shape=size_hw))
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    return detector.test_step({"inputs": [image], "data_samples": [sample]})[0].pred_instances


def tiled(
    detector: PixelDetector, pixels: np.ndarray, size_hw: tuple[int, int], **options: Any
) -> InstanceData:
    with Scratch(limit_bytes=0) as scratch:
        found = TiledPixelDetector(PixelMaps(detector, **options)).instances(
            ArrayPicture(pixels), size_hw, scratch
        )
        assert scratch.file_bytes == 0
    return found


def assert_same(found: InstanceData, wanted: InstanceData) -> None:
    assert found.masks.runs == wanted.masks.runs
    assert torch.equal(found.labels, wanted.labels)
    assert torch.equal(found.bboxes, wanted.bboxes)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=1e-5)
    assert set(found.keys()) == set(wanted.keys())
    if "soft_masks" in wanted:
        difference = found.soft_masks.int() - wanted.soft_masks.int()
        assert not difference.numel() or difference.abs().max() <= 1


@pytest.fixture(scope="module", params=MAKERS)
def detector(request: pytest.FixtureRequest) -> PixelDetector:
    return MAKERS[request.param]()


# Without shrinking: it takes minutes, and a tile is no clearer for being small.
@pytest.mark.slow
@settings(max_examples=8, derandomize=True, phases=[Phase.generate])
@given(
    size_hw=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    tile=st.integers(1, 120),
    offset_yx=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    is_whole=st.booleans(),
    factor=st.sampled_from([1.0, 0.7, 1.5]),
    seed=st.integers(0, 1000),
)
def test_tiles_give_what_the_whole_gives(
    detector, size_hw, tile, offset_yx, is_whole, factor, seed
) -> None:
    pixels = picture(*size_hw, seed)
    of_masks = tuple(max(1, round(side * factor)) for side in size_hw)
    options = dict(tile=tile, offset_yx=offset_yx, whole=is_whole)
    assert_same(tiled(detector, pixels, of_masks, **options), whole(detector, pixels, of_masks))


@pytest.mark.slow
@pytest.mark.parametrize("tile", [32, 96])
def test_maps_of_a_star(tile: int) -> None:
    # Polygons of random rays exchange pixels where two sums differ in their last bits, so the maps are compared.
    detector, pixels = lite_detector("StarCode"), picture(150, 190, 0)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    data = {"inputs": [image], "data_samples": None}
    wanted = detector.predict_maps(detector.data_preprocessor(data)["inputs"])[0]
    with Scratch(limit_bytes=1e9) as scratch:
        found = PixelMaps(detector, tile=tile)(ArrayPicture(pixels), scratch)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_there_are_cells_to_differ() -> None:
    for make in MAKERS.values():
        assert len(whole(make(), picture(150, 150, 0), (150, 150))) > 5


def test_tiles_by_budget() -> None:
    detector = unet_detector()
    tight = PixelMaps(detector, budget_bytes=4e6)
    (part,) = tight.parts
    (side,) = tight.tiles
    before, behind = part.field.context
    assert side < 200
    assert (side + before + behind) ** 2 * part.field.bytes_per_px < 4e6
    assert_same(
        tiled(detector, picture(130, 170, 1), (130, 170), budget_bytes=4e6),
        whole(detector, picture(130, 170, 1), (130, 170)),
    )
    with pytest.raises(UsageError, match=r"smallest tile of this model takes .*--memory"):
        PixelMaps(detector, budget_bytes=1e4)


def test_stages_are_taken_apart() -> None:
    maps = PixelMaps(lite_detector(), tile=256)
    assert [part.name for part in maps.parts] == [
        *(f"stage {number}" for number in range(4)),
        "decoder",
    ]
    assert [part.input_strides for part in maps.parts] == [(1,), (2,), (4,), (8,), (2, 4, 8, 16)]
    in_one = PixelMaps(lite_detector(), tile=256, whole=True)
    # The stages look 6 to 150 pixels far each, the network in one piece much farther.
    assert max(maps.cost((2048, 2048))[:3]) < 1.6 < min(in_one.cost((2048, 2048)))


def test_what_looks_at_the_whole_picture_is_refused() -> None:
    decoder = dict(
        type="UShapedDecoder", in_channels=[16, 24], strides=[2, 4], width=8,
        norm_cfg=dict(type="GN", num_groups=2),
    )  # fmt: skip
    detector = lite_detector(
        backbone=dict(type="EfficientNetLite", out_indices=(0, 1)), decoder=decoder
    )
    with pytest.raises(NotLocalError, match=r"PixelDetector: .*GroupNorm decoder.convs") as told:
        PixelMaps(detector, tile=64)
    assert len(told.value.culprits) == 2


def test_padding_before_the_network_is_refused() -> None:
    detector = lite_detector(
        data_preprocessor=dict(type="DetDataPreprocessor", pad_size_divisor=32)
    )
    with pytest.raises(UsageError, match="pad_size_divisor=32"):
        PixelMaps(detector, tile=64)
