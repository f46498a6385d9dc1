"""Views of an image, averaged pixel by pixel."""

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
from mmengine.registry import init_default_scope

import cellseg_mmdet.datasets  # noqa: F401  registers RandomRotate90
from cellseg_mmdet.models import UNetInstance
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry

CONFIG = Path(__file__).parents[3] / "configs/_base_/parts/cell_data.py"
LOSSES = dict(foreground=dict(bce=dict(type="PixelBCELoss")))


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> None:
    init_default_scope("mmdet")


class Bright(torch.nn.Module):
    """A network that takes what is bright for foreground, and what is in the left third of its view for less so."""

    def __init__(self, doubt: float = 0.0) -> None:
        super().__init__()
        self.doubt = doubt

    def context(self, length: int) -> tuple[int, int]:
        return 0, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = images[:, :1] / 25 - 5
        logits[..., : images.shape[-1] // 3] -= self.doubt
        return logits


class BoxDetector(torch.nn.Module):
    def test_step(self, data: Any) -> None: ...


def detector(network: torch.nn.Module, **options: Any) -> UNetInstance:
    model = UNetInstance(
        dict(type="UNet", filters=(2, 4)),
        LOSSES,
        data_preprocessor=dict(type="DetDataPreprocessor"),
        **options,
    )
    model.network = network
    return model.eval()


def picture() -> np.ndarray:
    image = np.zeros((24, 33, 3), np.uint8)
    image[2:8, 2:8] = image[5:20, 22:31] = 250
    image[6:18, 15] = 200
    return image


def views(image: np.ndarray, scales: tuple[float, ...]) -> dict[str, Any]:
    resize = [dict(type="Resize", scale_factor=scale) for scale in scales]
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


def predict(
    network: torch.nn.Module, scales: tuple[float, ...] = (1.0,), **options: Any
) -> ImagePrediction:
    model = MODELS.build(dict(type="UNetTTAModel", module=detector(network, **options)))
    [result] = model.test_step(views(picture(), scales))
    assert "pred_maps" not in result
    return from_dump_entry(result.to_dict())


def alone(network: torch.nn.Module) -> ImagePrediction:
    model = detector(network)
    data = views(picture(), (1.0,))
    [result] = model.test_step({key: values[0] for key, values in data.items()})
    return from_dump_entry(result.to_dict())


@pytest.mark.parametrize("scales", [(1.0,), (2.0,), (1.0, 3.0)])
def test_what_looks_the_same_from_all_sides_is_found_as_in_one_view(scales):
    merged, single = predict(Bright(), scales), alone(Bright())
    assert len(single) == 3
    assert merged.masks == single.masks
    if scales == (1.0,):
        np.testing.assert_allclose(merged.scores, single.scores, rtol=1e-5)


def test_probabilities_are_averaged_where_they_belong():
    merged = predict(Bright(doubt=3.0))
    # Bright pixels have a logit of 5, of 2 in the left third of a view: for the first cell, in a corner, in 4 of 8.
    expected = torch.tensor([5.0, 2.0]).sigmoid().mean().item()
    assert merged.scores[0] == pytest.approx(expected, rel=1e-5)
    assert merged.soft_masks is None


def test_soft_masks_are_those_of_the_mean():
    merged = predict(Bright(doubt=3.0), soft_masks=True)
    assert merged.soft_masks.shape == (3, 28, 28)
    expected = torch.tensor([5.0, 2.0]).sigmoid().mean().item()
    assert (merged.soft_masks[0, 8:-8, 8:-8] == round(255 * expected)).all()


def test_other_detectors_are_refused():
    with pytest.raises(TypeError, match="maps of a UNetInstance; got BoxDetector"):
        MODELS.build(dict(type="UNetTTAModel", module=BoxDetector()))
