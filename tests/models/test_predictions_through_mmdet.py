"""Whole detectors of mmdet with its mask heads and with ours: same weights, same images, same results."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric, DumpDetResults
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.engine import DumpPredictions
from cellseg_mmdet.engine.cell_metric import CellMetric
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.models import CellTTAModel, RoIFCNMaskHead, RoIHTCMaskHead
from cellseg_mmdet.structures import ImageRecord, from_dump_entry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor"),
]

CLASSES = ("astro", "cort", "shsy5y")
ORI_SHAPES = ((40, 56), (48, 50))
SCALE_FACTOR = (1.5, 1.25)  # of the width, of the height
CONFIGS = {
    "mask-rcnn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "cascade": "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
    "htc": "htc/htc-without-semantic_r50_fpn_1x_coco.py",
}
OURS = {"FCNMaskHead": RoIFCNMaskHead, "HTCMaskHead": RoIHTCMaskHead}


def shrunk(node: Any, heads: dict[str, type]) -> Any:
    """Return a model of mmdet as narrow as it may be, without pretrained weights and with other heads."""
    if isinstance(node, list | tuple):
        return type(node)(shrunk(item, heads) for item in node)
    if not isinstance(node, dict):
        return node
    small = {key: shrunk(value, heads) for key, value in node.items() if key != "init_cfg"}
    small.update(
        {key: 8 for key in small if key.endswith("channels") and small[key] in (256, 1024)}
    )
    if "num_classes" in small:
        small["num_classes"] = len(CLASSES)
    if small.get("type") == "ResNet":
        small.update(depth=18, stem_channels=8, base_channels=8)
    if small.get("type") == "FPN":
        small["in_channels"] = [8, 16, 32, 64]
    if "type" in small:
        small["type"] = heads.get(small["type"], small["type"])
    return small


def predict(
    cfg: dict[str, Any], state: Any = None, tta: bool = False
) -> tuple[list[DetDataSample], Any]:
    """Return what a model finds in two images of noise, with ``tta`` as their only view, and its weights."""
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(cfg)).eval()
    if state is None:
        # As mmdet initialises them, all values of a mask may lie on one side of the threshold.
        for name, weights in model.named_parameters():
            if "conv_logits" in name:
                torch.nn.init.normal_(weights)
    else:
        model.load_state_dict(state)
    augmented = CellTTAModel(module=model) if tta else None
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    samples = []
    for number, (height, width) in enumerate(ORI_SHAPES):
        img_shape = (round(height * SCALE_FACTOR[1]), round(width * SCALE_FACTOR[0]))
        meta = dict(
            img_id=number + 1,
            img_path=f"{number}.png",
            ori_shape=(height, width),
            img_shape=img_shape,
            pad_shape=(64, 96),
            batch_input_shape=(64, 96),
            scale_factor=SCALE_FACTOR,
            homography_matrix=np.diag([*SCALE_FACTOR, 1]),
        )
        samples.append(DetDataSample(metainfo=meta))
    with torch.no_grad():
        found = model.predict(images, samples)
        if augmented:
            found = augmented.merge_preds([[sample] for sample in found])
        return found, model.state_dict()


@pytest.fixture(scope="module", params=CONFIGS)
def cfg(request: pytest.FixtureRequest) -> dict[str, Any]:
    init_default_scope("mmdet")
    return get_config(f"mmdet::{CONFIGS[request.param]}").model.to_dict()


@pytest.fixture(scope="module")
def stock(cfg: dict[str, Any]) -> tuple[list[DetDataSample], Any]:
    """Return the predictions of mmdet's model, and its weights."""
    return predict(shrunk(cfg, {}))


@pytest.fixture(scope="module")
def found(cfg: dict[str, Any], stock: Any) -> tuple[list[DetDataSample], list[DetDataSample]]:
    """Return the predictions of mmdet's model and of ours."""
    ours, _ = predict(shrunk(cfg, OURS), stock[1])
    return stock[0], ours


@pytest.fixture
def ann_file(tmp_path: Path, found: tuple[list[DetDataSample], list[DetDataSample]]) -> str:
    """Return annotations that agree with every third of the predictions, as large as they are."""
    records = []
    for sample in found[0]:
        some = from_dump_entry(sample.to_dict()).select(np.s_[::3])
        some = some.select(some.masks.areas > 0)
        names = tuple(CLASSES[label] for label in some.labels)
        records.append(ImageRecord(sample.img_path, some.height, some.width, some.masks, names))
    path = tmp_path / "annotations.json"
    write_annotations(path, records, categories=CLASSES)
    return str(path)


def test_detections_and_masks_are_the_same(found: Any) -> None:
    for stock, ours in zip(*found, strict=True):
        expected, instances = stock.pred_instances, ours.pred_instances
        assert len(expected) > 50
        for name in ("bboxes", "scores", "labels"):
            assert torch.equal(instances[name], expected[name])
        assert isinstance(instances.masks, EncodedMasks)
        assert len(instances.masks.runs.starts) > 100
        np.testing.assert_array_equal(instances.masks.astype(bool), expected.masks.numpy())


def test_the_image_as_its_only_view_gives_the_same(
    cfg: dict[str, Any], stock: Any, found: Any
) -> None:
    merged, _ = predict(shrunk(cfg, OURS), stock[1], tta=True)

    for view, sample in zip(merged, found[1], strict=True):
        (one, other) = (from_dump_entry(each.to_dict()) for each in (view, sample))
        one, other = (each.select(each.by_descending_score()) for each in (one, other))
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.mask_scores, other.mask_scores, atol=1e-6)
        assert one.masks == other.masks


def test_average_precision_of_mmdet_is_the_same(found: Any, ann_file: str) -> None:
    def scores(samples: list[DetDataSample]) -> dict[str, float]:
        metric = CocoMetric(ann_file=ann_file, metric=["bbox", "segm"])
        metric.dataset_meta = {"classes": CLASSES}
        metric.process({}, [sample.to_dict() for sample in samples])
        return metric.evaluate(len(samples))

    stock, ours = (scores(samples) for samples in found)
    assert ours == stock
    assert 0 < ours["coco/segm_mAP"] < 1


def test_scores_of_cell_metric_are_the_same(found: Any, ann_file: str) -> None:
    def scores(samples: list[DetDataSample]) -> dict[str, float]:
        metric = CellMetric(ann_file)
        metric.dataset_meta = {"classes": CLASSES}
        metric.process({}, [sample.to_dict() for sample in samples])
        return metric.evaluate(len(samples))

    stock, ours = (scores(samples) for samples in found)
    assert ours == stock
    assert ours["cell/kaggle_map"] > 0


def test_cell_metric_scores_images_without_predictions(found: Any, ann_file: str) -> None:
    metric = CellMetric(ann_file)
    metric.dataset_meta = {"classes": CLASSES}
    for sample in found[1]:
        nothing = sample.to_dict()
        nothing["pred_instances"] = sample.pred_instances[:0].to_dict()
        metric.process({}, [nothing])

    assert metric.evaluate(2)["cell/kaggle_map"] == 0


@pytest.mark.parametrize("dump_type", [DumpDetResults, DumpPredictions])
def test_dumps_hold_the_same_masks(found: Any, tmp_path: Path, dump_type: type) -> None:
    dumped = []
    for name, samples in zip(("stock", "ours"), found, strict=True):
        dump = dump_type(str(tmp_path / f"{name}.pkl"))
        dump.process({}, [sample.to_dict() for sample in samples])
        dump.evaluate(len(samples))
        content = pickle.loads((tmp_path / f"{name}.pkl").read_bytes())
        dumped.append([entry["pred_instances"]["masks"] for entry in content])

    assert dumped[0] == dumped[1]
    runs = [sample.pred_instances.masks.runs for sample in found[1]]
    assert [Runs.from_coco(rles) for rles in dumped[1]] == runs
