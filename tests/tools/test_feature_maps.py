from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.inference.feature_maps import (
    FeatureMap,
    draw_feature_map,
    draw_filters,
    feature_maps,
    first_filters,
    list_layers,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def image(tiny_run) -> Path:
    return tiny_run.folder / "images" / f"{tiny_run.test_ids[0]}.png"


@pytest.fixture
def predictor(tiny_run, checkpoint: Path, monkeypatch) -> Predictor:
    monkeypatch.syspath_prepend(tiny_run.folder)
    return Predictor(tiny_run.config, str(checkpoint), device="cpu")


def test_sheets_of_the_backbone_by_default(tiny_run, checkpoint, image, tmp_path, capsys) -> None:
    _run(tiny_run, checkpoint, image, "--out-dir", tmp_path)
    assert "filters of backbone.conv1, and the feature maps of 5 layers" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "01_backbone.conv1.png",
        "02_backbone.layer1.png",
        "03_backbone.layer2.png",
        "04_backbone.layer3.png",
        "05_backbone.layer4.png",
        "filters.png",
    ]


def test_parts_of_a_model_that_is_one_network(predictor, image) -> None:
    def conv() -> torch.nn.Module:
        return torch.nn.Conv2d(3, 3, 1)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList([conv(), torch.nn.Sequential(conv(), conv())])
            self.relu, self.head = torch.nn.ReLU(), conv()

    model = torch.nn.Module()
    model.network, model.loss = Network(), torch.nn.BCELoss()
    predictor.model = model
    predictor.predict = lambda images: model.network.head(
        model.network.stages[1](model.network.stages[0](torch.zeros(1, 3, 2, 2)))
    )
    maps = feature_maps(predictor, read_image(image))
    assert [one.name for one in maps] == ["network.stages.0", "network.stages.1", "network.head"]


def test_list_names_layers_with_their_shapes(tiny_run, checkpoint, image, capsys) -> None:
    _run(tiny_run, checkpoint, image, "--list-layers")
    lines = [re.split(r"\s{2,}", line, maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    shapes = {parts[0]: parts[2] for parts in lines if len(parts) == 3}
    # 32 x 32 pixels: a stride of 2, then a pooling and stages of strides 1, 2, 2, 2; the neck gives four maps.
    assert shapes["backbone.conv1"] == "(1, 4, 16, 16)"
    assert shapes["backbone.layer4"] == "(1, 32, 1, 1)"
    assert shapes["neck"] == "(1, 8, 8, 8), (1, 8, 4, 4), (1, 8, 2, 2), (1, 8, 1, 1)"


def test_neither_list_nor_folder(tiny_run, checkpoint, image) -> None:
    with pytest.raises(SystemExit, match="give --out-dir, or --list-layers"):
        _run(tiny_run, checkpoint, image)


def test_maps_are_what_the_layer_computes_before_others_change_it(predictor, image) -> None:
    picture = cv2.imread(str(image))
    (convolved,) = feature_maps(predictor, picture, ["backbone.conv1"])
    (normed,) = feature_maps(predictor, picture, ["backbone.bn1"])
    (activated,) = feature_maps(predictor, picture, ["backbone.relu"])
    inputs = torch.from_numpy((picture.transpose(2, 0, 1)[None] - 100.0) / 50.0).float()
    with torch.no_grad():
        expected = predictor.model.backbone.conv1(inputs)[0].numpy()
    assert convolved.channels == pytest.approx(expected, abs=1e-4)
    # The activation works in place; what was kept of its input is not changed by it.
    assert normed.channels.min() < 0
    assert activated.channels == pytest.approx(normed.channels.clip(0), abs=1e-6)


def test_several_outputs_are_numbered(predictor, image) -> None:
    maps = feature_maps(predictor, read_image(image), ["neck"])
    assert [one.name for one in maps] == ["neck.0", "neck.1", "neck.2", "neck.3"]


def test_hooks_are_gone_afterwards(predictor, image) -> None:
    picture = cv2.imread(str(image))
    list_layers(predictor, picture)
    feature_maps(predictor, picture)
    assert not any(module._forward_hooks for module in predictor.model.modules())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("backbone.conv9", "no layer 'backbone.conv9'"),
        ("roi_head.bbox_head.fc_cls", "no feature maps"),
    ],
)
def test_layer_that_cannot_be_drawn(predictor, image, layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        feature_maps(predictor, read_image(image), [layer])


def test_filters_are_those_of_the_first_convolution_in_the_order_of_our_images(predictor) -> None:
    name, weights = first_filters(predictor)
    assert name == "backbone.conv1"
    own = predictor.model.backbone.conv1.weight.detach().numpy()
    assert (weights == own).all()
    predictor.cfg.model.data_preprocessor.bgr_to_rgb = True
    assert (first_filters(predictor)[1] == own[:, ::-1]).all()


def test_filters_are_drawn_around_middle_gray() -> None:
    weights = np.zeros((2, 3, 5, 5), np.float32)
    weights[0, 0, 0, 0] = 2.0  # blue
    weights[1, 1, 2, 2] = -1.0
    drawn = draw_filters("conv", weights)
    tile = drawn[drawn.shape[0] - 12 - 160 :]
    assert tile[5, 20].tolist() == [255, 128, 128]
    assert (tile.reshape(-1, 3) == [128, 64, 128]).all(axis=1).any()
    gray = draw_filters("conv", weights[:, :1])
    assert gray.shape[0] > drawn.shape[0], "a row for each filter"


def test_channel_without_contrast_is_black_and_counted() -> None:
    channels = np.stack([np.tile(np.linspace(-5, 5, 8), (8, 1)), np.full((8, 8), 3.0)])
    drawn = draw_feature_map(FeatureMap("layer", channels.astype(np.float32)))
    left, right = drawn[100:200, 20:160], drawn[100:200, 190:330]
    assert left[:, :10].sum() < left[:, -10:].sum()
    assert (right == 0).all()
    many = FeatureMap("layer", np.random.default_rng(0).normal(size=(20, 4, 4)).astype(np.float32))
    assert draw_feature_map(many, max_channels=8).shape[0] < draw_feature_map(many).shape[0]


def _run(tiny_run, checkpoint: Path, image: Path, *arguments: object) -> None:
    tiny_run.tool("feature_maps", tiny_run.config, checkpoint, image, *arguments)
