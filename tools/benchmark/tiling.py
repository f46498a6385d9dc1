#!/usr/bin/env python
"""Measure a pixel model on pictures of growing size, as a whole and in tiles: time, memory, and what differs.

The model is EfficientNet-Lite0 with a decoder, untrained; pictures are TIFFs of discs, tiled, read by window. Each
measurement runs in a process of its own, on one thread; times are those of the processor, which other work on the
machine changes little. Memory is the most that was added, pages of temporary files included.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from measure import _memory_mb
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

import cellseg_mmdet.models
from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.images import open_image
from cellseg_mmdet.inference.predictor import array_pipeline
from cellseg_mmdet.inference.seen import SeenPictures
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.terminal import run_tool
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.regions import decode_by_region
from cellseg_mmdet.tiling.scratch import Scratch
from cellseg_mmdet.tiling.sized_maps import SizedMaps

CONFIG = "pixel_lite0_rim_cpu_dsb2018"
PATCH = 512
RESULTS_MB = 256  # of the network that stay in memory


@dataclass(frozen=True)
class Measured:
    """Processor seconds of network and decoding, MB that were added, cells, and a digest of them."""

    network_s: float
    decoding_s: float
    peak_mb: float
    num_cells: int
    digest: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--tile", type=int, default=1024, help="side of the tiles")
    parser.add_argument("--whole-up-to", type=int, default=4096, help="largest size without tiles")
    args = parser.parse_args()
    detector = model()
    maps = PixelMaps(detector, tile=args.tile)
    costs, shares = maps.cost((8192, 8192)), shares_of(maps)
    print("| part | looks before, behind | share of the work | tile | pixels seen, 8,192 a side |")
    print("|---|---|---|---|---|")
    for part, share, tile, cost in zip(maps.parts, shares, maps.tiles, costs, strict=True):
        print(
            f"| {part.name} | {part.field.before}, {part.field.behind} | {share:.0%} | {tile} | x {cost:.2f} |"
        )
    in_one = PixelMaps(detector, tile=args.tile, whole=True).cost((8192, 8192))[0]
    by_parts = sum(share * cost for share, cost in zip(shares, costs, strict=True))
    print(f"\nwork: x {by_parts:.2f}; as one network it would be x {in_one:.2f}")
    print(
        "\n| pixels a side | network, whole | network, tiles | ratio | decoding, whole | by region | memory, whole "
        "| tiles | cells | same |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            path = write_picture(Path(folder) / f"{size}.tif", size)
            tiled = apart(in_tiles, path, args.tile)
            whole = apart(as_a_whole, path) if size <= args.whole_up_to else None
            print(row(size, whole, tiled), flush=True)
            path.unlink()


def row(size: int, whole: Measured | None, tiled: Measured) -> str:
    if whole is None:
        return (
            f"| {size:,} | | {tiled.network_s:.1f} s | | | {tiled.decoding_s:.1f} s | | {tiled.peak_mb:.0f} MB "
            f"| {tiled.num_cells:,} | |"
        )
    return (
        f"| {size:,} | {whole.network_s:.1f} s | {tiled.network_s:.1f} s | {tiled.network_s / whole.network_s:.2f} "
        f"| {whole.decoding_s:.1f} s | {tiled.decoding_s:.1f} s | {whole.peak_mb:.0f} MB | {tiled.peak_mb:.0f} MB "
        f"| {tiled.num_cells:,} | {'yes' if whole.digest == tiled.digest else 'no'} |"
    )


def shares_of(maps: PixelMaps) -> list[float]:
    """Return the share of each part in the multiplications of the network."""
    results, counts = [torch.zeros(1, 3, 256, 256)], []
    for part in maps.parts:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            results.append(part.run([results[number] for number in part.inputs]))
        counts.append(counter.get_total_flops())
    return [count / sum(counts) for count in counts]


def model() -> PixelDetector:
    """Return the model with weights that find blobs."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cfg = load_config(CONFIG, {"model.backbone.init_cfg": None})
    prepare_model_cfg(cfg)
    detector = MODELS.build(cfg.model)
    assert isinstance(detector, cellseg_mmdet.models.PixelDetector)
    for module in detector.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    detector.requires_grad_(False)
    pixels = patch()[None, :256, :256].repeat(3, 0)
    image = torch.from_numpy(pixels.copy())
    data = {"inputs": [image], "data_samples": None}
    seen = detector.data_preprocessor(data)["inputs"]
    # Batch norms that have seen nothing make maps of one value.
    detector.train()
    for _ in range(20):
        detector._forward(seen)
    detector.eval()
    logits = detector._forward(seen)[0]
    head = detector.decoder.head
    gain = 2 / logits.std(dim=(1, 2)).clamp(min=1e-6)
    level = torch.quantile(logits.flatten(1), 0.75, dim=1)
    head.weight.data *= gain[:, None, None, None]
    head.bias.data = (head.bias.data - level) * gain
    return detector


def patch() -> np.ndarray:
    """Return discs of 10 to 30 pixels, (512, 512) uint8."""
    rng = np.random.default_rng(0)
    image = np.full((PATCH, PATCH), 20, np.uint8)
    for y, x in rng.integers(20, PATCH - 20, (150, 2)).tolist():
        cv2.circle(image, (x, y), int(rng.integers(5, 15)), int(rng.integers(80, 250)), -1)
    noise = rng.normal(0, 4, image.shape)
    return (cv2.GaussianBlur(image, (0, 0), 1.5) + noise).clip(0, 255).astype(np.uint8)


def write_picture(path: Path, size: int) -> Path:
    """Write a tiled TIFF, tile by tile."""
    one = patch()

    def tiles() -> Iterator[np.ndarray]:
        for number in range((size // PATCH) ** 2):
            yield np.roll(one, 37 * number, axis=(0, 1))

    tifffile.imwrite(path, tiles(), shape=(size, size), dtype=np.uint8, tile=(PATCH, PATCH))
    return path


def apart(work: Callable[..., Measured], *args: Any) -> Measured:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def as_a_whole(path: Path) -> Measured:
    detector, seen, before = _ready()
    with open_image(path) as source, Scratch(1e12) as scratch:
        picture, (height, width) = seen.picture(source, scratch)
        pixels = picture.read(0, 0, height, width)
    begin = time.process_time()
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    data = {"inputs": [image], "data_samples": None}
    maps = detector.predict_maps(detector.data_preprocessor(data)["inputs"])[0]
    middle = time.process_time()
    cells = detector.decoded(maps.numpy())
    end = time.process_time()
    return _measured(cells, before, begin, middle, end)


def in_tiles(path: Path, tile: int) -> Measured:
    detector, seen, before = _ready()
    maps = PixelMaps(detector, tile=tile)
    with open_image(path) as source, Scratch(RESULTS_MB * 1e6) as scratch:
        picture, size_hw = seen.picture(source, scratch)
        begin = time.process_time()
        found = maps(picture, scratch)
        middle = time.process_time()
        cells = decode_by_region(detector, SizedMaps(found, size_hw, detector.code))
        end = time.process_time()
    return _measured(cells, before, begin, middle, end)


def _ready() -> tuple[PixelDetector, SeenPictures, float]:
    os.environ["OMP_NUM_THREADS"] = "1"
    detector = model()
    cfg = load_config(CONFIG)
    seen = SeenPictures(Compose(array_pipeline(cfg)))
    small = np.zeros((3, 64, 64), np.uint8)
    data = {"inputs": [torch.from_numpy(small)], "data_samples": None}
    detector.decoded(detector.predict_maps(detector.data_preprocessor(data)["inputs"])[0].numpy())
    before = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    return detector, seen, before


def _measured(cells: Any, before: float, begin: float, middle: float, end: float) -> Measured:
    peak = _memory_mb("VmHWM") - before
    digest = hash((cells.masks.starts.tobytes(), cells.masks.lengths.tobytes()))
    return Measured(middle - begin, end - middle, peak, len(cells.scores), digest)


if __name__ == "__main__":
    run_tool(main)
