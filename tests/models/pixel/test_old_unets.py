"""U-Nets that were trained before there were pixel codes: their checkpoints load, and predict what they predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from tests.models.pixel.seeing import sample

SIZE_HW = (26, 37)
BCE = dict(bce=dict(type="PixelBCELoss"))
# What `UNetInstance`, which is gone, gave at commit 0972206 with `waves` for weights and `image`: the number of cells,
# the sum of their areas, and the scores of the first three.
FOUND = {
    "same": (21, 470, [0.953267, 0.986866, 0.988867]),
    "valid": (19, 494, [0.999861, 0.999871, 0.999904]),
}


def waves(old_shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Return weights by their old names that are the same everywhere and always."""
    return {
        name: torch.sin(torch.arange(shape.numel(), dtype=torch.float64) * (1.7 + index) + index)
        .reshape(shape)
        .float()
        * (3.0 if name.startswith("network.head") else (6 / max(shape[1:].numel(), 1)) ** 0.5)
        for index, (name, shape) in enumerate(sorted(old_shapes.items()))
    }


def image() -> Tensor:
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    channels = [np.sin(x / 2.5) * np.cos(y / 3.0), np.sin((x + y) / 4.0), np.cos(x * y / 50.0)]
    return torch.from_numpy(np.stack(channels)[None]).float()


def built(padding: str) -> nn.Module:
    config = dict(
        type="PixelDetector",
        backbone=dict(type="UNet", filters=(4, 8), padding=padding),
        decoder=dict(type="PixelHead", in_channels=4),
        code=dict(type="RimCode", rim_px=1),
        losses=dict(foreground=BCE, rim=BCE),
    )
    return MODELS.build(config).eval()


def old_name(name: str) -> str:
    return name.replace("backbone.", "network.").replace("decoder.", "network.")


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_old_weights_find_the_old_cells(padding: str):
    model = built(padding)
    shapes = {old_name(name): value.shape for name, value in model.state_dict().items()}
    model.load_state_dict(waves(shapes))
    [result] = model.predict(image(), [sample(SIZE_HW)])
    found: Any = result.pred_instances
    num_cells, area, scores = FOUND[padding]
    assert len(found) == num_cells
    assert found.masks.runs.areas.sum() == area
    assert found.scores[:3].tolist() == pytest.approx(scores, abs=1e-5)


def test_old_and_new_names_are_the_same_weights():
    old, new = built("same"), built("same")
    old.load_state_dict({old_name(name): value for name, value in new.state_dict().items()})
    assert all(
        torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items()
    )
