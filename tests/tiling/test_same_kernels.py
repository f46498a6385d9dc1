"""Small tiles take the kernel of the whole picture: sums are equal bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cellseg_mmdet.tiling.pictures import ArrayPicture
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.same_kernels import SMALL_NUMBERS, SameKernels
from cellseg_mmdet.tiling.scratch import Scratch
from tests.tiling.networks import lite_detector
from tests.tiling.small_detectors import blobs

# What kernels a processor gets is oneDNN's choice: bit by bit equality was seen with these instructions.
on_avx512 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="kernels of another processor"
)


@on_avx512
@pytest.mark.parametrize("channels", [48, 64, 96])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_a_small_tile_has_the_sums_of_the_whole(channels: int, format: torch.memory_format) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=format)
    values = torch.randn(1, channels, 64, 80).contiguous(memory_format=format)
    assert channels * 12 * 12 <= SMALL_NUMBERS < values.numel()
    with torch.no_grad():
        whole = convolution(values)
        window = values[:, :, :12, :12].contiguous(memory_format=format)
        with SameKernels((64, 80), (12, 12)):
            tile = convolution(window)
    assert torch.equal(tile[:, :, :11, :11], whole[:, :, :11, :11])


@pytest.mark.parametrize(
    ("whole_hw", "side", "is_twice"),
    [((64, 80), 12, True), ((12, 14), 12, False), ((64, 80), 40, False)],
    ids=["small here alone", "small in the whole too", "large"],
)
def test_what_goes_in_twice(
    whole_hw: tuple[int, int], side: int, is_twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    concatenated = torch.cat
    monkeypatch.setattr(
        torch, "cat", lambda parts: (batches.append(len(parts)), concatenated(parts))[1]
    )
    convolution = nn.Conv2d(64, 8, 3)
    values = torch.randn(1, 64, side, side)
    with torch.no_grad(), SameKernels(whole_hw, (side, side)):
        found = convolution(values)
        by_name = torch.conv2d(input=values, weight=convolution.weight, bias=convolution.bias)
    assert found.shape == (1, 8, side - 2, side - 2)
    assert torch.allclose(found, convolution(values), atol=1e-5)
    assert torch.equal(found, by_name)
    assert batches == [2, 2] * is_twice


def test_a_batch_stays_as_it_is() -> None:
    values = torch.randn(2, 4, 8, 8)
    convolution = nn.Conv2d(4, 4, 3)
    with torch.no_grad(), SameKernels((800, 800), (8, 8)):
        assert torch.equal(convolution(values), convolution(values))


@on_avx512
@pytest.mark.slow
@pytest.mark.parametrize("tile", [100, 160, 224])
def test_maps_of_a_pixel_model_are_equal_bit_by_bit(tile: int) -> None:
    detector = lite_detector("FlowCode")
    pixels = blobs((330, 420))
    inputs = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    data = {"inputs": [inputs], "data_samples": None}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = detector.predict_maps(detector.data_preprocessor(data)["inputs"])[0].numpy()
        with Scratch(limit_bytes=1e9) as scratch:
            maps = PixelMaps(detector, tile=tile)(ArrayPicture(pixels), scratch)
            np.testing.assert_array_equal(maps, whole)
    finally:
        torch.set_num_threads(threads)
