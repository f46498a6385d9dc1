"""The pieces of work of ``dense.py``, each as mmdet (or the notebook this project comes from) does it and as we do.

A case takes whether it is ours, and its data; it returns the work. Cases run in processes of their own.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import scenes

CONFIGS = Path(__file__).parents[2] / "configs" / "mask_rcnn"
R50 = CONFIGS / "mask-rcnn_r50_fpn_20e_sartorius.py"
R50_STOCK = CONFIGS / "mask-rcnn_r50_fpn_20e_stock-masks_sartorius.py"
SMALL = CONFIGS / "mask-rcnn_r18_fpn_cpu_sartorius.py"

Work = Callable[[], Any]


def load_and_augment(ours: bool, annotations: Path, images: Path) -> Work:
    """The training pipeline of the R50 config: load, longer side to 1333, 1280 or 1024, flip, pack."""
    from mmdet.registry import DATASETS

    from cellseg_mmdet.engine import load_config

    cfg = load_config(R50 if ours else R50_STOCK)
    dataset = DATASETS.build(
        dict(
            type="CellDataset",
            ann_file=str(annotations),
            data_prefix=dict(img=str(images)),
            pipeline=cfg.train_pipeline,
        )
    )

    def work() -> None:
        np.random.seed(0)  # noqa: NPY002  (the generator that the transforms use)
        for index in range(len(dataset)):
            dataset[index]

    return work


def mask_targets(ours: bool, annotations: Path, num_cells: int, num_positives: int = 128) -> Work:
    """Targets of 28 x 28 for jittered boxes of cells, as mmdet's mask head asks for them."""
    import torch
    from mmdet.structures.mask import BitmapMasks
    from mmdet.structures.mask.mask_target import mask_target_single
    from mmengine.config import Config

    from cellseg_mmdet.masks import RoIMasks

    masks = RoIMasks.from_runs(scenes.cells(annotations, num_cells)).rescale((1333, 1333))
    rng = np.random.default_rng(0)
    assigned = rng.integers(0, num_cells, num_positives)
    boxes = masks.boxes[assigned] + rng.normal(0, 3, (num_positives, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    proposals = torch.from_numpy(boxes.astype(np.float32))
    truth = masks if ours else BitmapMasks(masks.to_ndarray(), masks.height, masks.width)
    cfg = Config({"mask_size": 28})
    return lambda: mask_target_single(proposals.clone(), torch.from_numpy(assigned), truth, cfg)


def paste_and_encode(ours: bool, annotations: Path, num_cells: int) -> Work:
    """From logits of 28 x 28 to COCO RLE on the image."""
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures.mask import encode_mask_results
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    import cellseg_mmdet.models  # noqa: F401  (registers)
    from cellseg_mmdet.masks import RoIMasks

    masks = RoIMasks.from_runs(scenes.cells(annotations, num_cells))
    rng = np.random.default_rng(0)
    boxes = torch.from_numpy((masks.boxes + rng.normal(0, 0.4, (num_cells, 4))).astype(np.float32))
    soft = masks.crop_and_resize(boxes, (28, 28), np.arange(num_cells), binarize=False)
    logits = torch.from_numpy(20 * (soft.to_ndarray()[:, None] - 0.5))
    head = MODELS.build(
        dict(
            type="mmdet.RoIFCNMaskHead" if ours else "mmdet.FCNMaskHead",
            num_convs=0,
            in_channels=8,
            conv_out_channels=8,
            num_classes=1,
        )
    )
    meta = {"ori_shape": (masks.height, masks.width), "scale_factor": (1.0, 1.0)}
    test_cfg = ConfigDict(mask_thr_binary=0.5)

    @torch.inference_mode()
    def work() -> list[Any]:
        found = InstanceData(bboxes=boxes.clone(), labels=torch.zeros(num_cells, dtype=torch.long))
        head.predict_by_feat([logits], [found], [meta], test_cfg, rescale=True)
        return list(found.masks) if ours else encode_mask_results(found.masks.numpy())

    return work


def label_map_to_rle(ours: bool, annotations: Path, num_cells: int) -> Work:
    """From a label map to one COCO RLE a cell."""
    from pycocotools import mask as coco_mask

    from cellseg_mmdet.masks import Runs

    label_map = scenes.cells(annotations, num_cells).to_label_map()

    def notebook() -> list[Any]:
        height, width = label_map.shape
        rles = []
        for cell_id in np.unique(label_map)[1:]:
            pixels = np.where(label_map == cell_id, 1, 0).astype(bool).ravel(order="F")
            counts = [0] if pixels[0] else []
            counts += [len(list(run)) for _, run in groupby(pixels)]
            rles.append({"size": [height, width], "counts": counts})
        return coco_mask.frPyObjects(rles, height, width)

    return (lambda: Runs.from_label_map(label_map).to_coco()) if ours else notebook


def coco_ap(ours: bool, annotations: Path, num_images: int, num_cells: int) -> Work:
    """AP of masks with up to 2,000 detections an image, from annotations in memory."""
    from cellseg_mmdet.evaluation import IMAGE_METRICS
    from cellseg_mmdet.evaluation.image_metric import MetricOptions

    metric: Any = IMAGE_METRICS.get("coco_ap")(MetricOptions(classes=("cell",), coco_max_dets=2000))
    pairs = scenes.jittered_pairs(annotations, num_images, num_cells)
    images = [metric.measure(pair) for pair in pairs]
    return partial(metric.precision, images, "segm") if ours else partial(_pycocotools_ap, images)


def _pycocotools_ap(images: list[dict[str, Any]]) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def numbered(key: str) -> list[dict[str, Any]]:
        entries = [
            {name: value for name, value in entry.items() if key == "true" or name != "bbox"}
            | {"image_id": number}
            for number, image in enumerate(images, start=1)
            for entry in image[key]
        ]
        return [entry | {"id": number} for number, entry in enumerate(entries, start=1)]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [
                {"id": number, "height": image["height"], "width": image["width"]}
                for number, image in enumerate(images, start=1)
            ],
            "categories": [{"id": 1, "name": "cell"}],
            "annotations": numbered("true"),
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(numbered("found")), "segm")
        evaluation.params.maxDets = [1, 100, 2000]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return float(precision[precision > -1].mean())


def test_loop(ours: bool, annotations: Path, images: Path, checkpoint: str | None) -> Work:
    """The small model over the images, with COCO AP of masks, as ``tools/test.py`` runs it."""
    from mmengine.runner import Runner

    from cellseg_mmdet.engine import load_config

    data = {
        "type": "CellDataset",
        "ann_file": str(annotations),
        "data_prefix": {"img": str(images)},
        "metainfo": {"classes": ("cell",)},
        "test_mode": True,
    }
    stock_metric = {"type": "CocoMetric", "ann_file": str(annotations), "metric": "segm"}
    metric = {"type": "CellMetric", "ann_file": str(annotations), "metric": "coco_ap"}
    cfg = load_config(SMALL)
    cfg.test_dataloader.dataset = data | {"pipeline": cfg.test_pipeline}
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_evaluator = metric if ours else stock_metric
    if not ours:
        cfg.model.roi_head.mask_head.type = "FCNMaskHead"
    cfg.merge_from_dict(
        {
            "load_from": checkpoint,
            "work_dir": str(annotations.parent / "test_loop"),
            "log_level": "ERROR",
            "randomness": {"seed": 0},
        }
    )
    runner = Runner.from_cfg(cfg)
    return runner.test
