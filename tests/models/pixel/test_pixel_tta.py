"""Views of an image, averaged pixel by pixel, vectors and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor

import cellseg_mmdet.datasets  # noqa: F401  registers RandomRotate90
from cellseg_mmdet.pixel_codes import TURNS, Turn
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry
from tests.models.pixel.seeing import detector, logits, seeing

CONFIG = Path(__file__).parents[3] / "configs/_base_/parts/cell_data.py"
PREPROCESSOR = dict(type="DetDataPreprocessor")


def cells() -> np.ndarray:
    label_map = np.zeros((30, 33), np.int32)
    label_map[2:10, 2:10], label_map[5:20, 20:30], label_map[8:18, 13:20] = 1, 2, 3
    return label_map


def picture() -> np.ndarray:
    """Return (H, W, 3) uint8, whose first channel is the number of the cell times 50."""
    image = np.zeros((*cells().shape, 3), np.uint8)
    image[..., 0] = 50 * cells()
    return image


def knowing(doubt: float = 0.0, **options: Any) -> Any:
    """Return a detector that is equivariant by construction: it encodes the cells that its picture shows.

    Args:
        doubt: taken from the logits of foreground in the left third of what is seen.
    """
    model = seeing(data_preprocessor=PREPROCESSOR, **options)

    def seen(images: Tensor) -> Tensor:
        found = torch.stack(
            [
                logits(model, (image[0].numpy() / 50).round().astype(np.int32), 5.0)
                for image in images
            ]
        )
        found[:, 0, :, : found.shape[-1] // 3] -= doubt
        return found

    model.backbone.seen = seen
    return model


def views(image: np.ndarray, scales: tuple[float, ...] = (1.0,)) -> dict[str, Any]:
    resize = [dict(type="Resize", scale_factor=scale, interpolation="nearest") for scale in scales]
    sides = Config.fromfile(CONFIG).views.transforms
    pipeline = Compose([dict(type="TestTimeAug", transforms=[resize, *sides])])
    results = dict(
        img=image,
        img_id=1,
        img_path="image.png",
        ori_shape=image.shape[:2],
        img_shape=image.shape[:2],
    )
    return pseudo_collate([pipeline(results)])


def merged(model: Any, scales: tuple[float, ...] = (1.0,)) -> ImagePrediction:
    tta = MODELS.build(dict(type="PixelTTAModel", module=model))
    [result] = tta.test_step(views(picture(), scales))
    assert "pred_maps" not in result
    return from_dump_entry(result.to_dict())


def alone(model: Any) -> ImagePrediction:
    data = views(picture())
    [result] = model.test_step({key: values[0] for key, values in data.items()})
    return from_dump_entry(result.to_dict())


@pytest.mark.parametrize("scales", [(1.0,), (2.0,), (1.0, 3.0)])
def test_what_looks_the_same_from_all_sides_is_found_as_in_one_view(scales: tuple[float, ...]):
    found, single = merged(knowing(), scales), alone(knowing())
    assert sorted(single.masks.areas) == [64, 70, 150]
    assert found.masks == single.masks
    if scales == (1.0,):
        np.testing.assert_allclose(found.scores, single.scores, rtol=1e-3)


def test_it_decodes_the_mean_of_the_eight_turned_predictions():
    """With a network that has learned nothing: each view gives other maps."""
    torch.manual_seed(0)
    model = detector(dict(type="FlowCode", flow_thr=100.0), data_preprocessor=PREPROCESSOR)
    model.init_weights()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 40)).astype(np.float32)
    with torch.no_grad():  # foreground in half of the pixels
        head, found = model.decoder.head, model(torch.from_numpy(pixels)[None], mode="tensor")
        head.weight /= found.std()
        head.bias -= found[0].flatten(1).median(dim=1).values / found.std()
    seen = []
    for turn in TURNS:
        [maps] = model.predict_maps(torch.from_numpy(turn(pixels).copy())[None])
        seen.append(model.code.turn(maps.numpy(), turn.inverse))
    expected = model.instances(torch.from_numpy(np.mean(seen, axis=0)), (32, 40))
    assert len(expected) > 3

    tta = MODELS.build(dict(type="PixelTTAModel", module=model))
    [result] = tta.test_step(views(pixels.transpose(1, 2, 0).astype(np.uint8)))
    found = result.pred_instances
    assert found.masks.runs == expected.masks.runs
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-3, atol=1e-4)


def test_probabilities_are_averaged_where_they_belong():
    found = merged(knowing(doubt=3.0))
    single = alone(knowing())
    # Cells have a logit of 5, of 2 in the left third of a view: the first one, in a corner, in 4 of 8.
    sure, unsure = torch.tensor([5.0, 2.0]).sigmoid().tolist()
    assert found.scores[0] / single.scores[0] == pytest.approx((sure + unsure) / 2 / sure, rel=1e-3)


def test_soft_masks_are_those_of_the_mean():
    found = merged(knowing(doubt=3.0, soft_masks=True))
    assert found.soft_masks.shape == (3, 28, 28)
    expected = torch.tensor([5.0, 2.0]).sigmoid().mean().item()
    assert (found.soft_masks[0, 8:-8, 8:-8] == round(255 * expected)).all()


@pytest.mark.parametrize("code", ["FlowCode", "StarCode", "RimCode"])
@pytest.mark.parametrize("turn", TURNS)
def test_maps_turn_as_the_code_turns_them(turn: Turn, code: str):
    model = detector(dict(type=code), num_classes=2)
    num = model.code.channels
    maps = torch.randn(num + 2, 6, 9)
    turned = model.turned(maps, turn)
    np.testing.assert_array_equal(turned[:num].numpy(), model.code.turn(maps[:num].numpy(), turn))
    np.testing.assert_array_equal(turned[num:].numpy(), turn(maps[num:].numpy()))
    assert torch.equal(model.turned(turned, turn.inverse), maps)


def test_lengths_grow_with_the_picture_and_nothing_else_does():
    model = detector(dict(type="StarCode", num_rays=4), num_classes=2)
    resized = model.resized(torch.ones(8, 4, 6), (8, 18))  # twice as high, three times as wide
    # Foreground, object; right, down, left, up; two classes.
    expected = [1, 1, 3, 2, 3, 2, 1, 1]
    torch.testing.assert_close(resized[:, 4, 9], torch.tensor(expected, dtype=torch.float32))


class BoxDetector(torch.nn.Module):
    def test_step(self, data: Any) -> None: ...


def test_other_detectors_are_refused():
    with pytest.raises(TypeError, match="maps of a PixelDetector; got BoxDetector"):
        MODELS.build(dict(type="PixelTTAModel", module=BoxDetector()))
