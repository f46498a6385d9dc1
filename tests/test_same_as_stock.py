"""Masks in their own boxes change the cost of training, not the training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

pytestmark = pytest.mark.long

CONFIG = Path(__file__).parents[1] / "configs/mask_rcnn/mask-rcnn_r18_fpn_cpu_sartorius.py"
NUM_ITERATIONS = 50


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of 96 x 96 pixels with some thirty discs each, many of which overlap."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    records = []
    for number in range(8):
        y, x = np.mgrid[:96, :96]
        discs = [
            (x - rng.uniform(0, 96)) ** 2 + (y - rng.uniform(0, 96)) ** 2 < rng.uniform(4, 9) ** 2
            for _ in range(30)
        ]
        image = 100 + 60 * np.any(discs, axis=0) + rng.normal(0, 8, (96, 96))
        cv2.imwrite(str(folder / f"{number}.png"), image.clip(0, 255).astype(np.uint8))
        instance, column, row = np.nonzero(np.transpose(discs, (0, 2, 1)))
        masks = Runs.from_pixels(column * 96 + row, instance, len(discs), 96, 96)
        records.append(ImageRecord(f"{number}.png", 96, 96, masks, ("cell",) * len(masks)))
    write_annotations(folder / "train.json", records, categories=("cell",))
    return folder


def losses(data: Path, work_dir: Path, *, stock: bool) -> list[dict[str, float]]:
    cfg = configured(data, work_dir, stock=stock)
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.model.train()
    found: list[dict[str, float]] = []
    loader = runner.build_dataloader(cfg.train_dataloader, seed=0)
    np.random.seed(0)  # noqa: NPY002  (the generator that mmdet's transforms use)
    while len(found) < NUM_ITERATIONS:
        for batch in loader:
            step = runner.model.train_step(batch, optimizer)
            found.append({name: float(value) for name, value in step.items()})
    return found[:NUM_ITERATIONS]


def configured(data: Path, work_dir: Path, *, stock: bool) -> Config:
    cfg = load_config(CONFIG)
    load = {"type": "LoadAnnotations" if stock else "LoadRoIAnnotations"}
    pipeline = [
        {"type": "LoadImageFromFile"},
        load | {"with_bbox": True, "with_mask": True},
        {"type": "RandomChoiceResize", "scales": [(144, 144), (120, 120)], "keep_ratio": True},
        {"type": "RandomFlip", "prob": 0.5, "direction": ["horizontal", "vertical"]},
        {"type": "RandomCrop", "crop_size": (96, 96)},
        {"type": "PackDetInputs"},
    ]
    cfg.train_dataloader.dataset = {
        "type": "CellDataset",
        "ann_file": str(data / "train.json"),
        "data_prefix": {"img": str(data)},
        "pipeline": pipeline,
    }
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    if stock:
        cfg.model.roi_head.mask_head.type = "FCNMaskHead"
    cfg.merge_from_dict(
        {"work_dir": str(work_dir), "log_level": "ERROR", "randomness": {"seed": 0}}
    )
    return cfg


@pytest.mark.slow
def test_losses_of_a_training_are_those_of_mmdets_masks(data: Path, tmp_path: Path) -> None:
    ours = losses(data, tmp_path / "ours", stock=False)
    stock = losses(data, tmp_path / "stock", stock=True)
    assert all(step["loss_mask"] > 0 for step in ours)
    for number, (our_step, stock_step) in enumerate(zip(ours, stock, strict=True)):
        assert our_step == pytest.approx(stock_step, rel=1e-4), f"iteration {number}"
