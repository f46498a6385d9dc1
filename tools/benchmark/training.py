#!/usr/bin/env python
"""Measure what an iteration of a training costs: each transform of the pipeline, and the network.

CPU seconds of this process, on one thread unless --threads says otherwise, so that other work on the machine counts
little. Pretrained weights are not loaded: they change no time.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import cv2
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper

from cellseg_mmdet.allocator import keep_freed_memory
from cellseg_mmdet.cli.arguments import add_option_arguments
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.engine.config import prepare_model_cfg
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, or name of a shipped config")
    parser.add_argument("--batches", type=int, default=4, help="to measure (default: 4)")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV (default: 1)")
    add_option_arguments(parser)
    args = parser.parse_args()
    MMLogger.get_instance("mmengine", log_level="WARNING")  # else a line for each parameter
    keep_freed_memory()  # as cellseg train does
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)

    cfg = load_config(args.config, args.cfg_options)
    prepare_model_cfg(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    dataset.full_init()
    batch_size = cfg.train_dataloader.batch_size
    print(f"{args.config}: batches of {batch_size}, CPU seconds, {args.threads} threads")

    seconds: dict[str, float] = defaultdict(float)
    batches = []
    for number in range(args.batches + 1):  # the first one warms up
        samples = []
        for index in range(number * batch_size, (number + 1) * batch_size):
            sample = dataset.get_data_info(index % len(dataset))
            for transform in dataset.pipeline.transforms:
                elapsed, sample = measured(lambda t=transform, s=sample: t(s))
                seconds[type(transform).__name__] += elapsed * (number > 0)
            samples.append(sample)
        batches.append(pseudo_collate([sample for sample in samples if sample is not None]))
    for name, total in seconds.items():
        print(f"{total / args.batches:8.3f}  {name}")
    print(f"{sum(seconds.values()) / args.batches:8.3f}  loading, in all")

    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model.train_step(batches[0], wrapper)
    steps = [measured(lambda b=batch: model.train_step(b, wrapper))[0] for batch in batches[1:]]
    print(f"{min(steps):8.3f}  training step, the fastest of {len(steps)}")


def measured(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a piece of work, and its result."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


if __name__ == "__main__":
    run_tool(main)
