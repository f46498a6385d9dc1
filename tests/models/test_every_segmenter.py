"""Every instance segmenter of mmdet on our masks: the losses of its own masks, and predictions that we can score."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import mmdet
import numpy as np
import pytest
import torch
import yaml
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.datasets import CellDataset
from cellseg_mmdet.engine import DumpPredictions
from cellseg_mmdet.engine.cell_metric import CellMetric
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.ops.stand_in import in_use
from cellseg_mmdet.structures import ImageRecord, from_dump_entry
from tests.models.mmdet_segmenters import (
    CONFIGS,
    INITIALISED,
    PACKAGES,
    PORTABLE_ON_CPU,
    RECIPES,
    WIDE,
    WITHOUT_A_CASE,
)

pytestmark = pytest.mark.long

CLASSES = ("astro", "cort", "shsy5y")
SIZE_HW = (96, 128)
FOLDER = Path(mmdet.__file__).parent / ".mim/configs"


@pytest.fixture(scope="module", autouse=True)
def mmdet_scope() -> None:
    init_default_scope("mmdet")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two images of eight ellipses each, and ``cells.json``."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    records = []
    for number in range(2):
        labels = np.zeros(SIZE_HW, np.int32)
        for index in range(1, 9):
            centre = rng.integers(16, [SIZE_HW[1] - 16, SIZE_HW[0] - 16]).tolist()
            cv2.ellipse(labels, centre, rng.integers(8, 17, 2).tolist(), 30, 0, 360, index, -1)
        masks = Runs.from_label_map(labels)
        image = 60 + 120 * (labels > 0) + rng.normal(0, 10, SIZE_HW)
        cv2.imwrite(str(folder / f"{number}.png"), image.clip(0, 255).astype(np.uint8))
        names = tuple(CLASSES[index % 3] for index in range(len(masks)))
        records.append(ImageRecord(f"{number}.png", *SIZE_HW, masks, names))
    write_annotations(folder / "cells.json", records, categories=CLASSES)
    return folder


def batch_of(data: Path, load: str) -> dict[str, Any]:
    seg = dict(with_seg=True, background_label=len(CLASSES)) if load.startswith("LoadRoI") else {}
    dataset = CellDataset(
        ann_file=str(data / "cells.json"),
        data_prefix={"img": str(data)},
        metainfo={"classes": CLASSES},
        pipeline=[
            dict(type="LoadCellImage"),
            dict(type=load, with_bbox=True, with_mask=True, **seg),
            dict(type="Resize", scale_factor=1.0),
            dict(type="PackDetInputs"),
        ],
    )
    return pseudo_collate([dataset[index] for index in range(len(dataset))])


_WIDTHS = (128, 256, 512, 1024, 2048)
_STAGES = [256, 512, 1024, 2048]  # channels of a ResNet


def adapted(node: Any, narrow: bool) -> Any:
    """Return a model without pretrained weights, of three classes, that gives what scores low as well.

    Args:
        node: the model's config, or a part of it.
        narrow: divide the channels by 8.
    """
    if isinstance(node, list | tuple):
        if narrow and list(node) == _STAGES:
            return [width // 8 for width in _STAGES]
        return type(node)(adapted(item, narrow) for item in node)
    if not isinstance(node, dict):
        return node
    ours = {key: adapted(value, narrow) for key, value in node.items()}
    for key in ("init_cfg", "pretrained"):
        if key in ours:
            ours[key] = None
    things = len(CLASSES)
    if "num_classes" in ours:  # of a map of classes: one more, for the background
        ours["num_classes"] = things + (ours["num_classes"] == 183)
    if "num_things_classes" in ours:
        ours.update(num_things_classes=things, num_stuff_classes=0)
    if "class_weight" in ours and isinstance(ours["class_weight"], list):
        ours["class_weight"] = [1.0] * things + [0.1]
    if "score_thr" in ours:
        ours["score_thr"] = 0.0
    for key in ("max_per_img", "max_per_image"):
        if key in ours:
            ours[key] = min(ours[key], 100)
    if ours.get("type") == "BatchFixedSizePad":
        ours["size"] = (128, 128)
    if ours.get("type") == "HRNet":
        ours["norm_eval"] = False  # with random weights its values grow out of bounds otherwise
    if "num_points" in ours:  # at which Mask2Former samples masks
        ours["num_points"] = 256
    if "num_queries" in ours:
        ours["num_queries"] = 34  # whose scores of three classes are more than 100
    if "panoptic_on" in ours:
        ours.update(panoptic_on=False, instance_on=True)
    if narrow:
        narrow_in_place(ours)
    return ours


def narrow_in_place(part: dict[str, Any]) -> None:
    for key, value in part.items():
        if (
            key.endswith(("channel", "channels", "dims", "num_feats", "inplanes"))
            and value in _WIDTHS
        ):
            part[key] = value // 8
    if part.get("num_groups") == 32:
        part["num_groups"] = 4
    if "aspp_out_channels" in part:
        part["aspp_out_channels"] //= 8
    if "Res" in str(part.get("type")) and "depth" in part:
        part.update(stem_channels=8, base_channels=8)


def build(config: str) -> Any:
    cfg = Config.fromfile(FOLDER / f"{config}.py").model.to_dict()
    torch.manual_seed(0)
    narrow = not WIDE & {config, config.partition("/")[0]}
    model = revert_sync_batchnorm(MODELS.build(ConfigDict(adapted(cfg, narrow))))
    if config.partition("/")[0] in INITIALISED:
        model.init_weights()
    for name, weights in model.named_parameters():
        if "fc_reg" in name:  # mmdet's mask heads stop at a box outside the image, which these draw
            torch.nn.init.zeros_(weights)
    return model


def losses(model: Any, batch: dict[str, Any]) -> dict[str, float]:
    MessageHub.get_current_instance().update_info("iter", 100)  # BoxInst warms up
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  (the generator that mmdet's samplers use)
    model.train()
    with torch.no_grad():
        found = model(**model.data_preprocessor(batch, training=True), mode="loss")
        return {name: float(value) for name, value in model.parse_losses(found)[1].items()}


def folders_with_instances() -> set[str]:
    """Return the folders of mmdet's configs whose index names a result in instance segmentation."""
    folders = set()
    for path in FOLDER.glob("*/metafile.yml"):
        index = yaml.safe_load(path.read_text())
        models = index.get("Models", []) if isinstance(index, dict) else index
        for model in models or []:
            tasks = [result.get("Task", "") for result in model.get("Results") or []]
            if any("Instance Segmentation" in str(task) for task in tasks):
                folders.add(path.parent.name)
    return folders


def test_every_segmenter_has_a_case_or_a_reason() -> None:
    assert folders_with_instances() <= {*CONFIGS, *RECIPES, *WITHOUT_A_CASE}
    assert set(RECIPES.values()) <= set(CONFIGS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("config", [f"{at}/{name}" for at in CONFIGS for name in CONFIGS[at]])
def test_loss_prediction_and_score(config: str, data: Path, tmp_path: Path) -> None:
    folder, _, _ = config.partition("/")
    if package := PACKAGES.get(folder):
        pytest.importorskip(package, reason=f"its backbone is in {package}")
    if folder in PORTABLE_ON_CPU and in_use() != "portable":
        pytest.skip(
            "mmcv's compiled operators have it on CUDA only; with CELLSEG_OPS=portable it runs here"
        )
    model = build(config)
    ours = batch_of(data, "LoadRoIAnnotations")
    assert all(isinstance(one.gt_instances.masks, RoIMasks) for one in ours["data_samples"])
    found = losses(model, ours)
    assert np.isfinite(found["loss"]), found
    stock = batch_of(data, "LoadAnnotations")
    for one, other in zip(
        stock["data_samples"], batch_of(data, "LoadRoIAnnotations")["data_samples"], strict=True
    ):
        one.gt_sem_seg = other.gt_sem_seg
    assert found == pytest.approx(losses(model, stock), rel=1e-3, abs=1e-6)

    model.eval()
    with torch.no_grad():
        samples = model.test_step(batch_of(data, "LoadRoIAnnotations"))
    entries = [sample.to_dict() for sample in samples]
    predictions = [from_dump_entry(entry) for entry in entries]
    assert all((one.height, one.width) == SIZE_HW for one in predictions)
    assert any(map(len, predictions))
    metric = CellMetric(str(data / "cells.json"), metric=("kaggle_map", "coco_ap"))
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, entries)
    assert 0 <= metric.evaluate(len(entries))["cell/kaggle_map"] <= 1
    dump = DumpPredictions(str(tmp_path / "found.pkl"))
    dump.process({}, entries)
    dump.evaluate(len(entries))
    content = pickle.loads((tmp_path / "found.pkl").read_bytes())
    assert [from_dump_entry(entry).masks for entry in content] == [p.masks for p in predictions]
