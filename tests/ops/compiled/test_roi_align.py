from __future__ import annotations

import numpy as np
import pytest
import torch

from cellseg_mmdet.ops.cpu import roi_align


def draw(rng: np.random.Generator, dtype: torch.dtype):
    batch, channels, height, width = (int(rng.integers(1, high)) for high in (3, 6, 40, 40))
    scale, count = float(rng.choice([1, 0.25, 0.125])), int(rng.integers(1, 20))
    centre = rng.uniform(-20, [width / scale + 20, height / scale + 20], (count, 2))
    size = np.exp(rng.uniform(-1, 6, (count, 2))) * (rng.uniform(size=(count, 1)) > 0.1)
    image = rng.integers(0, batch, (count, 1))
    rois = np.concatenate([image, centre - size / 2, centre + size / 2], axis=1)
    bins = int(rng.integers(1, 15))
    arguments = {
        "aligned_height": bins,
        "aligned_width": int(rng.integers(1, 15)),
        "spatial_scale": scale,
        "sampling_ratio": int(rng.choice([0, 1, 2, 3])),
        "aligned": bool(rng.integers(0, 2)),
    }
    pixels = torch.tensor(rng.normal(size=(batch, channels, height, width)), dtype=dtype)
    return pixels, torch.tensor(rois, dtype=dtype), arguments


def run(module, pixels, rois, pool_mode, arguments):
    shape = (len(rois), pixels.shape[1], arguments["aligned_height"], arguments["aligned_width"])
    output, argmax_y, argmax_x = torch.zeros(3, *shape, dtype=pixels.dtype)
    module.roi_align_forward(
        pixels, rois, output, argmax_y, argmax_x, pool_mode=pool_mode, **arguments
    )
    gradient = torch.linspace(-1, 1, output.numel(), dtype=pixels.dtype).view(shape)
    total = torch.zeros_like(pixels)
    module.roi_align_backward(
        gradient, rois, argmax_y, argmax_x, total, pool_mode=pool_mode, **arguments
    )
    return output, total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("pool_mode", [0, 1], ids=["maximum", "average"])
def test_values_and_gradients_are_the_same(compiled, pool_mode, dtype):
    rng = np.random.default_rng(pool_mode)
    for _ in range(150):
        pixels, rois, arguments = draw(rng, dtype)
        ours, theirs = (
            run(module, pixels, rois, pool_mode, arguments) for module in (roi_align, compiled)
        )
        torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=0)
        # Hundreds of terms meet in one pixel: of float32, a sum is as good as its largest term.
        close = (
            {"atol": 1e-5, "rtol": 1e-5} if dtype is torch.float32 else {"atol": 1e-5, "rtol": 0}
        )
        torch.testing.assert_close(ours[1], theirs[1], **close)


def test_half_precision_is_as_near_to_the_truth(compiled):
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels, rois, arguments = draw(rng, torch.float32)
        halves = pixels.half(), rois.half()
        truth, _ = run(roi_align, *(half.double() for half in halves), 1, arguments)
        ours, theirs = (
            (run(module, *halves, 1, arguments)[0] - truth).abs().max()
            for module in (roi_align, compiled)
        )
        assert ours <= max(theirs, 2e-3)
