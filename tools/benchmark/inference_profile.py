#!/usr/bin/env python
"""Where the time of an image goes in a pixel model's inference, and what changes of the network would save.

Prints CPU milliseconds of each part, in which other work on the machine counts little, and then those of the network
with other layouts, precisions, batches and threads, with the largest difference of the maps from those of the model as
it is used. Compiling needs a C++ compiler and takes minutes: --compile.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import torch
from mmengine.dataset import pseudo_collate
from own_models import write_random

from cellseg_mmdet.images import find_images, read_image
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.structures import from_dump_entry
from cellseg_mmdet.terminal import run_tool

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("checkpoint", nargs="?", help="default: random weights")
    parser.add_argument("--images", required=True)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keys = find_images([args.images], recursive=True)
    paths = [Path(keys[place * len(keys) // args.count].path) for place in range(args.count)]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = args.checkpoint
        if not checkpoint:
            checkpoint = str(Path(folder) / "random.pth")
            write_random(args.config, Path(checkpoint))
        predictor, trained = (
            Predictor(args.config, checkpoint, device="cpu", folds_norms=folds)
            for folds in (True, False)
        )
    with torch.inference_mode():
        inputs = print_parts(predictor, paths)
        print_variants(predictor.model, trained.model, inputs, compiles=args.compile)


def print_parts(predictor: Predictor, paths: list[Path]) -> torch.Tensor:
    """Print the parts of the time of an image; return the network's input for the largest one."""
    model, parts = predictor.model, defaultdict(list)
    largest = torch.zeros(1, 3, 0, 0)

    @contextmanager
    def part(name: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        parts[name].append(time.process_time() - begin)

    for path in [paths[0], *paths]:  # the first one warms up
        with part("reading the file"):
            image = read_image(path)
        with part("intensity and packing"):
            packed = pseudo_collate([predictor._pipeline({"image": image})])
            data = model.data_preprocessor(packed, False)
        batch, sample = data["inputs"], data["data_samples"][0]
        largest = batch if batch.numel() > largest.numel() else largest
        with part("network"):
            maps = model.predict_maps(batch)
        height, width = sample.img_shape[:2]
        with part("decoding"):
            found = model.instances(maps[0, :, :height, :width], sample.ori_shape[:2])
        sample.pred_instances = found
        sample.set_metainfo({"img_path": path.name})
        with part("post-processing and label map"):
            raw = from_dump_entry(sample.to_dict())
            predictor.postprocess(raw).masks.to_label_map()
    total = sum(statistics.mean(values[1:]) for values in parts.values())
    print("| part | CPU ms an image | share |\n|---|---|---|")
    for name, values in parts.items():
        mean = statistics.mean(values[1:])
        print(f"| {name} | {1000 * mean:.0f} | {100 * mean / total:.0f} % |")
    print(f"| in all | {1000 * total:.0f} | |\n")
    return largest


def print_variants(
    folded: torch.nn.Module, trained: torch.nn.Module, inputs: torch.Tensor, *, compiles: bool
) -> None:
    """Print the time of the network in each variant, in turns, and how far its maps are off."""
    plain = copy.deepcopy(folded).to(memory_format=torch.contiguous_format)
    plain.memory_format = torch.contiguous_format

    def bf16() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return folded.predict_maps(inputs)

    def threads(count: int) -> torch.Tensor:
        torch.set_num_threads(count)
        try:
            return folded.predict_maps(inputs)
        finally:
            torch.set_num_threads(1)

    variants: dict[str, Callable[[], torch.Tensor]] = {
        "as it is: norms folded, channels last": lambda: folded.predict_maps(inputs),
        "norms not folded": lambda: trained.predict_maps(inputs),
        "channels first": lambda: plain.predict_maps(inputs),
        "four images a batch, each": lambda: folded.predict_maps(inputs.repeat(4, 1, 1, 1)),
        "bf16 where autocast allows it": bf16,
        "two threads, of both": lambda: threads(2),
    }
    if compiles:
        folded._forward = torch.compile(folded._forward)  # type: ignore[method-assign]
        variants = {"compiled": lambda: folded.predict_maps(inputs)}
    expected = None
    times: dict[str, list[float]] = defaultdict(list)
    walls: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, float] = {}
    first: dict[str, float] = {}
    for turn in range(ROUNDS + 1):
        for name, run in variants.items():
            begin, wall = time.process_time(), time.perf_counter()
            maps = run()
            share = len(maps)
            if turn:
                times[name].append((time.process_time() - begin) / share)
                walls[name].append((time.perf_counter() - wall) / share)
            else:
                first[name] = time.perf_counter() - wall
            expected = maps[:1] if expected is None else expected
            errors[name] = float((maps[:1] - expected).abs().max())
    size = " x ".join(map(str, inputs.shape[2:]))
    print(
        f"| network on {size} | CPU ms, best of {ROUNDS} | wall ms | first call, s | maps off by |"
    )
    print("|---|---|---|---|---|")
    for name, values in times.items():
        print(
            f"| {name} | {1000 * min(values):.0f} | {1000 * min(walls[name]):.0f} | {first[name]:.1f} | "
            f"{errors[name]:.1e} |"
        )
    has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"\nCPU: {capability}, bf16 {'in hardware' if has_bf16 else 'emulated'}")


if __name__ == "__main__":
    run_tool(main)
