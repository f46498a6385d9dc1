"""The three cell types as classes of a pixel model: from the training step to the class column of a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.engine import prepare_model_cfg
from cellseg_mmdet.models import PixelDetector
from tests.configs.leaves import CLASSES, CONFIGS, load
from tests.configs.test_steps import shrink
from tests.tiling.networks import random_weights

pytestmark = pytest.mark.slow

LEAF = CONFIGS / "pixel/pixel_lite0_flow_3class_cpu_sartorius.py"
# An untrained model is sure of nothing: keep what it finds.
OPTIONS = ["model.code.flow_thr=100", "postprocess.1.score_thr=0.0", "postprocess.4.min_area_px=1"]


def sure_of_the_second_class(model: PixelDetector) -> None:
    """Have a model see cells of random shapes, which are 'cort'."""
    random_weights(model)
    head = model.decoder.head
    head.weight[-3:] = 0
    head.bias[-3:] = torch.tensor([-1.0, 2.0, 0.0])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    cfg = load(LEAF)
    cfg.model.backbone.init_cfg = None
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    sure_of_the_second_class(model)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return str(path)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0).standard_normal((90, 120))
    smooth = np.rint(127 + 300 * cv2.GaussianBlur(noise, (0, 0), 4)).clip(0, 255)
    assert cv2.imwrite(str(folder / "a.png"), smooth.astype(np.uint8))
    return folder


def test_two_training_steps_and_scores_per_class(root, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(root)
    cfg = load(LEAF)
    cfg.merge_from_dict(
        {"work_dir": str(tmp_path), "randomness": {"seed": 0}, "log_level": "ERROR"}
    )
    shrink(cfg)
    runner = Runner.from_cfg(cfg)
    model = runner.model
    assert model.decoder.head.out_channels == 3 + len(CLASSES)
    runner.optim_wrapper = optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    batches = iter(runner.train_dataloader)
    for _ in range(2):
        before = model.decoder.head.weight[-3:].detach().clone()
        batch = next(batches)
        labels = {
            int(one)
            for sample in batch["data_samples"]
            for one in sample.gt_pixels.classes.unique()
        }
        assert labels <= {0, 1, 2, 3} and len(labels) > 1
        losses = model.train_step(batch, optim_wrapper)
        assert losses["loss_class"] > 0
        assert not torch.equal(before, model.decoder.head.weight[-3:])

    model.eval()
    evaluator = runner.val_loop.evaluator
    dataset = runner.val_dataloader.dataset
    for index in range(len(dataset)):
        [result] = model.test_step(pseudo_collate([dataset[index]]))
        evaluator.process(data_samples=[result], data_batch=None)
    scores = evaluator.evaluate(len(dataset))
    for name in CLASSES:
        assert {f"cell/kaggle_map_{name}", f"cell/segm_AP50_{name}"} <= set(scores)


def test_tables_name_the_class_with_tiles_and_without(checkpoint: str, images: Path) -> None:
    for out, more in (("whole", []), ("tiled", ["--tile", "64"])):
        arguments = [
            str(LEAF),
            checkpoint,
            str(images),
            "--write",
            "table",
            "coco",
            "--out-dir",
            out,
        ]
        cellseg(["infer", *arguments, *more, "--cfg-options", *OPTIONS])
    whole, tiled = (read_table(f"{out}/cells.csv") for out in ("whole", "tiled"))
    assert len(whole) > 3
    assert {row["class"] for row in whole} == {"cort"}
    columns = ("id", "class", "area_px")
    assert [[row[name] for name in columns] for row in whole] == [
        [row[name] for name in columns] for row in tiled
    ]
    found = json.loads(Path("whole/predictions.json").read_text())
    assert {cell["category_id"] for cell in found} == {2}  # of 'cort', counted from 1
    cellseg(
        [
            "measure",
            "whole/predictions.json",
            str(images),
            "--out",
            "measured.csv",
            "--config",
            str(LEAF),
        ]
    )
    assert [row["class"] for row in read_table("measured.csv")] == [row["class"] for row in whole]


def read_table(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
