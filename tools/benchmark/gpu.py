#!/usr/bin/env python
"""Measure training and testing on dense images on this machine's GPU: mmdet's masks against masks in their own boxes.

Training: iterations a second and peak GPU memory, data loading included. Testing: seconds an image for the network and
for everything else (loading, pasting, encoding, scoring). Weights are random: neither pays attention to them, but a
test's number of detections does, so give a checkpoint to have it as in practice.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cases
import scenes
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.terminal import run_tool

WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with train.csv and train/")
    parser.add_argument("--checkpoint", help="of the R50 config with one class")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--workers", type=int, default=8, help="of the data loader")
    parser.add_argument("--out", type=Path, default=scenes.RESULTS / "gpu.json")
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        data = scenes.prepare(scenes.find(args.data), Path(folder))
        for name, config in (("stock", cases.R50_STOCK), ("ours", cases.R50)):
            # A process each: memory that one leaves behind would count for the other.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[name] = pool.submit(measure, config, data, args, folder).result()
            print(f"{name}: {json.dumps(found[name])}", flush=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as path:
        path.write_text(json.dumps({"device": device, "data": data.name} | found, indent=1))
    print(f"written to {args.out}")


def measure(
    config: Path, data: scenes.Scenes, args: argparse.Namespace, folder: str
) -> dict[str, float]:
    cfg = one_class_config(config, data, args, folder)
    runner = Runner.from_cfg(cfg)
    return train(runner, cfg, args.iterations) | test(runner, cfg)


def one_class_config(
    config: Path, data: scenes.Scenes, args: argparse.Namespace, folder: str
) -> Config:
    cfg = load_config(config)
    dataset = {
        "type": "CellDataset",
        "ann_file": str(data.densest),
        "data_prefix": {"img": str(data.images)},
        "metainfo": {"classes": ("cell",)},
    }
    workers = {"num_workers": args.workers, "persistent_workers": args.workers > 0}
    cfg.train_dataloader.dataset = dataset | {"pipeline": cfg.train_pipeline}
    cfg.train_dataloader.sampler = {"type": "InfiniteSampler"}
    cfg.train_dataloader.update(workers)
    cfg.test_dataloader.dataset = dataset | {"pipeline": cfg.test_pipeline, "test_mode": True}
    cfg.test_dataloader.update(workers)
    cfg.test_evaluator = {"type": "CellMetric", "ann_file": str(data.densest)}
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 1
    cfg.model.backbone.init_cfg = None
    cfg.model.test_cfg.rcnn.max_per_img = 1000
    cfg.merge_from_dict(
        {
            "work_dir": folder,
            "load_from": args.checkpoint,
            "log_level": "ERROR",
            "randomness": {"seed": 0},
        }
    )
    prepare_model_cfg(cfg)
    return cfg


def train(runner: Runner, cfg: Config, iterations: int) -> dict[str, float]:
    """Return iterations a second and peak GPU memory, after some that are not counted."""
    batches = iter(runner.build_dataloader(cfg.train_dataloader))
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.model.train()
    for step in range(WARM_UP + iterations):
        if step == WARM_UP:
            begin = now()
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
        runner.model.train_step(next(batches), optimizer)
    seconds = now() - begin
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else float("nan")
    return {"train_iterations_per_s": iterations / seconds, "train_peak_mb": peak}


def test(runner: Runner, cfg: Config) -> dict[str, float]:
    """Return seconds an image of the network, and of all that is not the network."""
    loader = runner.build_dataloader(cfg.test_dataloader)
    evaluator = runner.build_evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    model = runner.model.eval()
    spent: dict[str, float] = defaultdict(float)
    head = model.roi_head.mask_head
    paste = head.predict_by_feat

    def timed_paste(*args: Any, **kwargs: Any) -> Any:
        with timed(spent, "masks"):
            return paste(*args, **kwargs)

    head.predict_by_feat = timed_paste
    with torch.inference_mode():
        for batch in loader:
            model.test_step(batch)
            break
        spent.clear()
        begin = now()
        for batch in loader:
            with timed(spent, "model"):
                samples = model.test_step(batch)
            with timed(spent, "scoring"):
                evaluator.process([sample.to_dict() for sample in samples], batch)
        total = now() - begin
    num_images = len(loader.dataset)
    network = spent["model"] - spent["masks"]
    return {
        "test_network_s": network / num_images,
        "test_masks_s": spent["masks"] / num_images,
        "test_scoring_s": spent["scoring"] / num_images,
        "test_rest_of_network": (total - network) / network,
    }


@contextmanager
def timed(spent: dict[str, float], name: str) -> Iterator[None]:
    begin = now()
    yield
    spent[name] += now() - begin


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    run_tool(main)
