"""The heads against mmdet's, mask by mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.models import RoIFCNMaskHead
from cellseg_mmdet.models.mask_heads import paste, paste_masks

SIDE = 7  # rows and columns of a predicted mask
SMALL = dict(num_convs=0, in_channels=1, conv_out_channels=1)


@st.composite
def spans(draw: st.DrawFn, length: int) -> tuple[float, float]:
    """A side of a box: in the image or beyond its ends, from no length at all to more than the image's."""
    near = st.integers(0, length).map(float) | st.integers(0, length - 1).map(lambda n: n + 0.5)
    anywhere = st.floats(-0.25 * length, length, width=32, allow_subnormal=False)
    begin = draw(near | anywhere)
    extent = draw(st.sampled_from([0.0, 1.0, 2.0]) | st.floats(0, 1.5 * length, width=32))
    # mmdet's head fails on a box that ends more than a pixel before the image.
    return begin, max(begin + extent, -0.5)


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    boxes = draw(st.lists(st.tuples(spans(width), spans(height)), min_size=1, max_size=12))
    return dict(
        boxes=torch.tensor([[x1, y1, x2, y2] for (x1, x2), (y1, y2) in boxes]),
        ori_shape=(height, width),
        scale_factor=draw(st.sampled_from([(1.0, 1.0), (2.0, 1.5), (1 / 3, 0.7)])),
        num_classes=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1000)),
    )


def predict(head_type: type, scene: dict[str, Any], threshold: float, **options: Any) -> Any:
    """Return what a head makes of random logits, and the boxes that it was given."""
    class_agnostic = options.pop("class_agnostic", False)
    head = head_type(num_classes=scene["num_classes"], class_agnostic=class_agnostic, **SMALL)
    generator = torch.Generator().manual_seed(scene["seed"])
    num_boxes = len(scene["boxes"])
    channels = 1 if class_agnostic else scene["num_classes"]
    logits = torch.randn(num_boxes, channels, SIDE, SIDE, generator=generator)
    labels = torch.randint(scene["num_classes"], (num_boxes,), generator=generator)
    boxes = scene["boxes"] * torch.tensor(scene["scale_factor"]).repeat(2)
    (result,) = head.predict_by_feat(
        (logits.sigmoid() if options.get("activate_map") else logits,),
        [InstanceData(bboxes=boxes, labels=labels)],
        [scene],
        ConfigDict(mask_thr_binary=threshold),
        **options,
    )
    return result.masks, boxes


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
@pytest.mark.parametrize("threshold", [0, 0.3, 0.5])
@pytest.mark.parametrize("class_agnostic", [False, True], ids=["by class", "class-agnostic"])
@settings(max_examples=50)
@given(scene=scenes(), rescale=st.booleans(), activate_map=st.booleans())
def test_pixels_are_those_of_mmdet(
    threshold: float,
    class_agnostic: bool,
    scene: dict[str, Any],
    rescale: bool,
    activate_map: bool,
) -> None:
    options = dict(class_agnostic=class_agnostic, rescale=rescale, activate_map=activate_map)

    expected, expected_boxes = predict(FCNMaskHead, scene, threshold, **options)
    found, boxes = predict(RoIFCNMaskHead, scene, threshold, **options)

    np.testing.assert_array_equal(found.astype(bool), expected.numpy())
    np.testing.assert_array_equal(boxes, expected_boxes)


@pytest.mark.parametrize("pixels_at_once", [1, 1000, 1 << 20])
def test_many_masks_of_all_sizes(monkeypatch: pytest.MonkeyPatch, pixels_at_once: int) -> None:
    monkeypatch.setattr(paste, "_PIXELS_AT_ONCE", pixels_at_once)
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(150, 2, generator=generator) * 180
    size = torch.rand(150, 2, generator=generator) ** 3 * 150
    scene = dict(
        boxes=torch.cat([corner, (corner + size).clamp(max=200)], dim=1),
        ori_shape=(200, 210),
        scale_factor=(1.0, 1.0),
        num_classes=3,
        seed=0,
    )

    expected, _ = predict(FCNMaskHead, scene, 0.5, rescale=True)
    found, _ = predict(RoIFCNMaskHead, scene, 0.5, rescale=True)

    np.testing.assert_array_equal(found.astype(bool), expected.numpy())


def test_a_full_mask_fills_its_box() -> None:
    boxes = torch.tensor([[2.0, 1.0, 6.0, 4.0], [0.0, 0.0, 1.0, 5.0]])

    runs = paste_masks(torch.ones(2, SIDE, SIDE), boxes, height=5, width=8, threshold=0.5)

    assert runs.boxes.tolist() == boxes.tolist()
    assert runs.areas.tolist() == [12, 5]
    assert runs[:1].starts.tolist() == [11, 16, 21, 26]  # column by column


def test_a_box_outside_the_image_holds_nothing() -> None:
    boxes = torch.tensor([[20.0, 0, 30, 5], [-30, 0, -20, 5], [0, 9, 5, 20], [0, 0, 8, 5]])

    runs = paste_masks(torch.ones(4, SIDE, SIDE), boxes, height=5, width=8, threshold=0.5)

    assert runs.areas.tolist() == [0, 0, 0, 40]


def test_no_boxes() -> None:
    runs = paste_masks(torch.ones(0, SIDE, SIDE), torch.ones(0, 4), 5, 8, threshold=0.5)

    assert (len(runs), runs.height, runs.width) == (0, 5, 8)


def test_probabilities_are_those_of_mmdet() -> None:
    scene = dict(
        boxes=torch.tensor([[1.0, 1, 9, 7]]),
        ori_shape=(10, 12),
        scale_factor=(1.0, 1.0),
        num_classes=1,
        seed=0,
    )

    expected, _ = predict(FCNMaskHead, scene, -1, rescale=True)
    found, _ = predict(RoIFCNMaskHead, scene, -1, rescale=True)

    assert found.dtype == torch.uint8
    assert torch.equal(found, expected)


def test_an_image_of_the_batch_without_detections() -> None:
    head = RoIFCNMaskHead(num_classes=1, **SMALL)
    meta = dict(ori_shape=(5, 8), scale_factor=(1.0, 1.0))
    instances = [
        InstanceData(bboxes=torch.zeros(count, 4), labels=torch.zeros(count, dtype=torch.int64))
        for count in (0, 2)
    ]

    empty, found = head.predict_by_feat(
        [torch.zeros(count, 1, SIDE, SIDE) for count in (0, 2)],
        instances,
        [meta, meta],
        ConfigDict(mask_thr_binary=0.5),
    )

    assert empty.masks.shape == (0, 5, 8)
    assert len(empty.maskness) == 0
    assert isinstance(found.masks, EncodedMasks)
    assert found.masks.shape == (2, 5, 8)


def found_by(head: RoIFCNMaskHead, probabilities: torch.Tensor, labels: list[int]) -> InstanceData:
    """Return what a head makes of probabilities (N, classes, h, w), on boxes that fill the image."""
    instances = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 8, 5]]).repeat(len(labels), 1), labels=torch.tensor(labels)
    )
    meta = dict(ori_shape=(5, 8), scale_factor=(1.0, 1.0))
    config = ConfigDict(mask_thr_binary=0.5)
    (result,) = head.predict_by_feat(
        [probabilities], [instances], [meta], config, rescale=True, activate_map=True
    )
    return result


def test_maskness_is_the_mean_probability_of_the_foreground_of_the_own_class() -> None:
    probabilities = torch.full((3, 2, 2, 2), 0.25)
    probabilities[0, 1, 0] = torch.tensor([0.5, 1.0])  # and 0.25 below
    probabilities[1, 1] = 1.0

    found = found_by(RoIFCNMaskHead(num_classes=2, **SMALL), probabilities, [1, 1, 0])

    assert found.maskness.dtype == torch.float32
    assert found.maskness.tolist() == [0.75, 1, 0]
    assert "soft_masks" not in found


def test_soft_masks_are_kept_where_the_config_says_so() -> None:
    probabilities = torch.tensor([[0.0, 0.1], [0.6, 1.0]])[None, None]
    head = MODELS.build(dict(type="RoIFCNMaskHead", num_classes=1, soft_masks=True, **SMALL))

    found = found_by(head, probabilities, [0])

    assert found.soft_masks.dtype == torch.uint8
    assert found.soft_masks.tolist() == [[[0, 26], [153, 255]]]
    assert len(found.masks) == 1


def test_a_head_that_does_not_paste_hands_on_the_probabilities() -> None:
    probabilities = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    head = RoIFCNMaskHead(num_classes=1, **SMALL)
    head.pastes = False

    found = found_by(head, probabilities, [0, 0])

    assert torch.equal(found.soft_masks, probabilities[:, 0])
    assert "masks" not in found and "maskness" not in found


@pytest.mark.parametrize("name", ["RoIFCNMaskHead", "RoIHTCMaskHead"])
def test_a_config_names_it(name: str) -> None:
    head = MODELS.build(dict(type=name, num_classes=2, **SMALL))

    assert type(head).__name__ == name
    assert isinstance(head, FCNMaskHead)
