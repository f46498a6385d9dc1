"""The run core with a detector in tiles: what `cellseg infer --tile` finds is what it finds in the whole picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.images import open_image
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference import ModelSpec, infer_images, plan
from cellseg_mmdet.structures.prediction_dump import load_predictions
from cellseg_mmdet.tiling.detectors import TiledDetector
from tests.tiling.small_detectors import blobs

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs/mask_rcnn/mask-rcnn_r18_fpn_cpu_dsb2018.py"
UNTRAINED = {"model.test_cfg.rcnn.max_per_img": 80, "postprocess.0.score_thr": 0.0}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """Return a detector of random weights, with group norm in neck and mask head."""
    torch.manual_seed(0)
    cfg = load_config(CONFIG, UNTRAINED)
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in ("rpn_cls", "fc_cls"):
            nn.init.normal_(module.weight, std=0.3)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    meta = {"dataset_meta": {"classes": ("nucleus",)}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return ModelSpec(str(CONFIG), str(path), device="cpu", cfg_options=UNTRAINED)


@pytest.fixture(scope="module")
def picture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "field.png"
    cv2.imwrite(str(path), blobs((150, 230)))
    return path


def test_tiles_and_whole(spec: ModelSpec, picture_file: Path, tmp_path: Path) -> None:
    found = {}
    for tile in ("off", 96, 200):
        out = tmp_path / str(tile)
        choice = TileChoice(tile)
        summary = infer_images(spec, plan([picture_file]), out, write=["dump"], tile=choice)
        assert not any("overlapping" in warning for warning in summary.warnings)
        (found[tile],) = load_predictions(out / "predictions.pkl")
    whole = found["off"]
    assert len(whole) > 10
    for tile in (96, 200):
        assert np.allclose(found[tile].scores, whole.scores, rtol=0, atol=1e-5)
        assert abs(found[tile].masks.areas - whole.masks.areas).max() <= 2


def test_the_network_is_measured_once(spec: ModelSpec, picture_file: Path) -> None:
    tiled = spec.load().tiled(TileChoice(96))
    with open_image(picture_file) as image:
        first = tiled.predict(image, "field.image")
        exact = tiled._tiled
        second = tiled.predict(image, "field.image")
    assert isinstance(exact, TiledDetector)
    assert tiled._tiled is exact
    assert first.masks == second.masks
    assert tiled.pop_notes() == []
