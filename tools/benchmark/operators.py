#!/usr/bin/env python
"""Time mmcv's operators and whole models with compiled operators and with those of ``cellseg_mmdet.ops``, side by side.

Both kinds take turns in one process, so that a machine that slows down slows both. Each time is a median. It needs an
mmcv with compiled operators (`make setup OPS=compiled`, or a ready wheel).
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import cases
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from operator_cases import CASES

from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.ops import compiled_file
from cellseg_mmdet.ops.dispatch import Operator
from cellseg_mmdet.terminal import run_tool

THREADS = (1, 2)


class Portable(ModuleType):
    """A module whose attributes are our operators."""

    def __getattr__(self, name: str) -> Operator:
        return Operator(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="times of each kind (default: 7)")
    parser.add_argument("--only", default="", help="only rows with this word in their title")
    args = parser.parse_args()
    kinds = {"compiled": compiled(), "portable": Portable("portable")}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads at the start")
    print("| what | threads | compiled, ms | portable, ms | ratio |\n|---|---|---|---|---|")
    for title, prepare in rows():
        if args.only not in title:
            continue
        for threads in THREADS:
            torch.set_num_threads(threads)
            work = prepare()
            bound = {name: functools.partial(work, module) for name, module in kinds.items()}
            times = in_turns(bound, args.rounds)
            ratio = times["portable"] / times["compiled"]
            print(
                f"| {title} | {threads} | {times['compiled']:.1f} | {times['portable']:.1f} | {ratio:.2f} |",
                flush=True,
            )


def compiled() -> ModuleType:
    """Return mmcv's compiled module.

    Raises:
        UsageError: where mmcv has none.
    """
    file = compiled_file()
    if not file:
        raise UsageError(
            "mmcv is installed without compiled operators: there is nothing to compare with"
        )
    spec = importlib.util.spec_from_file_location("mmcv._ext", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_turns(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each, run in turns after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            if round_:
                times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def rows() -> Iterator[tuple[str, Callable[[], Callable[[ModuleType], Any]]]]:
    """Yield a title and what prepares the work, which takes the module of operators."""
    for case in CASES:
        yield case.title, case.prepare
    for name, config in (("R18", cases.SMALL), ("R50", cases.R50)):
        yield f"{name}, training iteration, 800 px", lambda config=config: training(config)
        yield f"{name}, prediction, 800 px", lambda config=config: prediction(config)


def use(module: ModuleType) -> None:
    """Let mmcv's Python call the operators of ``module``."""
    for name, loaded in list(sys.modules.items()):
        if name.startswith("mmcv.ops.") and hasattr(loaded, "ext_module"):
            loaded.ext_module = module


def training(config: Any) -> Callable[[ModuleType], Any]:
    model, inputs, samples = model_and_batch(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)  # both kinds see the same weights

    def work(module: ModuleType) -> None:
        use(module)
        torch.manual_seed(0)
        losses = model.parse_losses(model.loss(inputs, samples))[0]
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()

    model.train()
    return work


def prediction(config: Any) -> Callable[[ModuleType], Any]:
    model, inputs, samples = model_and_batch(config)
    model.eval()
    model.test_cfg.rcnn.score_thr = 0.0  # random weights are sure of nothing

    def work(module: ModuleType) -> None:
        use(module)
        with torch.inference_mode():
            model.predict(inputs, samples)

    return work


def model_and_batch(config: Any) -> tuple[Any, torch.Tensor, list[DetDataSample]]:
    """Return the config's detector with random weights, one picture of 800 x 800 and its 225 round cells."""
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    cfg = load_config(config)
    cfg.model.backbone.init_cfg = None
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    size = 800
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    column, row = x // 54, y // 54  # 15 x 15 cells of radius 17; the last of a row is cut off
    inside = (x % 54 - 27) ** 2 + (y % 54 - 27) ** 2 < 17**2
    label_map = torch.where(inside, row * 15 + column + 1, 0).numpy()
    masks = RoIMasks.from_runs(Runs.from_label_map(label_map))
    boxes = masks.get_bboxes("hbox").tensor
    sample = DetDataSample(
        metainfo={
            "img_shape": (size, size),
            "ori_shape": (size, size),
            "pad_shape": (size, size),
            "batch_input_shape": (size, size),
            "scale_factor": (1.0, 1.0),
        }
    )
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long), masks=masks
    )
    return model, torch.randn(1, 3, size, size), [sample]


if __name__ == "__main__":
    run_tool(main)
