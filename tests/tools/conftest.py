"""A detector and a data set so small that starting Python takes longer than training."""

from __future__ import annotations

import itertools
import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / "tools"
_RUN_NUMBERS = itertools.count()

SIZE = 32  # pixels, height and width
TRAIN_IMAGES = 8
TEST_IMAGES = 7  # odd: the sampler of two processes has one image predicted twice

CONFIG = """\
custom_imports = dict(
    imports=[
        "cellseg_mmdet.datasets", "cellseg_mmdet.engine", "cellseg_mmdet.models", "seen_images"
    ],
    allow_failed_imports=False,
)
default_scope = "mmdet"
norm_cfg = dict(type="SyncBN")
model = dict(
    type="MaskRCNN",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[100.0] * 3,
        std=[50.0] * 3,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type="ResNet", depth=18, base_channels=4, norm_cfg=norm_cfg, norm_eval=False),
    neck=dict(
        type="FPN", in_channels=[4, 8, 16, 32], out_channels=8, num_outs=4, norm_cfg=norm_cfg
    ),
    rpn_head=dict(
        type="RPNHead",
        in_channels=8,
        feat_channels=8,
        anchor_generator=dict(
            type="AnchorGenerator", scales=[4], ratios=[0.8, 1.25], strides=[4, 8, 16, 32]
        ),
    ),
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=3, sampling_ratio=1),
            out_channels=8,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type="Shared2FCBBoxHead",
            in_channels=8,
            fc_out_channels=16,
            roi_feat_size=3,
            num_classes=1,
        ),
        mask_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=6, sampling_ratio=1),
            out_channels=8,
            featmap_strides=[4, 8, 16, 32],
        ),
        mask_head=dict(
            type="RoIFCNMaskHead", num_convs=1, in_channels=8, conv_out_channels=8, num_classes=1
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(type="RandomSampler", num=32, pos_fraction=0.5, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
        ),
        rpn_proposal=dict(
            nms_pre=50, max_per_img=20, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
            sampler=dict(type="RandomSampler", num=16, pos_fraction=0.25, add_gt_as_proposals=True),
            mask_size=12,
            pos_weight=-1,
        ),
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=50, max_per_img=20, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(
            score_thr=0.0,
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=20,
            mask_thr_binary=0.05,
        ),
    ),
)
load = [
    dict(type="LoadCellImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
]
pack = dict(
    type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
)
resize = dict(type="Resize", scale=(32, 32))
data = dict(
    type="CocoDataset",
    data_root="{folder}/",
    data_prefix=dict(img="images/"),
    metainfo=dict(classes=("cell",)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(ann_file="train.json", pipeline=[*load, resize, pack], **data),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(ann_file="test.json", test_mode=True, pipeline=[load[0], resize, pack], **data),
)
val_dataloader = test_dataloader
tta_model = dict(type="CellTTAModel")
tta_pipeline = [
    load[0],
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale=(side, side)) for side in (32, 64)],
            [dict(type="RandomFlip", prob=prob) for prob in (0.0, 1.0)],
            [dict(type="RandomRotate90", turns=[number]) for number in (0, 3)],
            [dict(pack, meta_keys=(*pack["meta_keys"], "homography_matrix"))],
        ],
    ),
]
val_evaluator = test_evaluator = dict(
    type="CocoMetric", ann_file="{folder}/test.json", metric=["bbox", "segm"], format_only=False
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=1),
    checkpoint=dict(type="CheckpointHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
)
custom_hooks = [dict(type="SeenImages", folder="{folder}/seen")]
visualizer = dict(type="DetLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
env_cfg = dict(dist_cfg=dict(backend="nccl"), mp_cfg=dict(opencv_num_threads=1))
randomness = dict(seed=0)
"""

SEEN_IMAGES = '''\
"""Records what each process trained on, and the weights that it ended with."""

import json
import os
from mmdet.registry import HOOKS
from mmengine.hooks import Hook


@HOOKS.register_module()
class SeenImages(Hook):
    def __init__(self, folder):
        self.folder, self.ids = folder, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.ids += [sample.img_id for sample in data_batch["data_samples"]]

    def after_train_epoch(self, runner):
        os.makedirs(self.folder, exist_ok=True)
        weights = sum(value.double().sum().item() for value in runner.model.parameters())
        with open(f"{self.folder}/{runner.world_size}_{runner.rank}.json", "w") as file:
            json.dump({"ids": self.ids, "weights": weights}, file)
'''


@dataclass(frozen=True)
class TinyRun:
    """A folder with data, a config and the modules that the config imports."""

    folder: Path
    test_ids: list[int]

    @property
    def config(self) -> Path:
        return self.folder / "tiny.py"

    def tool(self, name: str, *arguments: object, options: tuple[str, ...] = ()) -> None:
        """Run ``tools/<name>.py`` in this process, which saves seconds of imports.

        It computes in one thread, as the processes that torchrun starts: equal to the last bit.
        """
        threads = torch.get_num_threads()
        # mmengine keeps its logger and visualizer by this name and the second of the start.
        options = (f"experiment_name=run{next(_RUN_NUMBERS)}", *options)
        argv = [f"{name}.py", *map(str, arguments), "--cfg-options", *options]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", argv)
            patch.setenv("LOCAL_RANK", "0")
            patch.syspath_prepend(self.folder)
            torch.set_num_threads(1)
            try:
                runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
            except SystemExit as end:
                if end.code:
                    raise
            finally:
                torch.set_num_threads(threads)

    def seen(self) -> dict[str, dict]:
        """Return what each process saw in training, by '<number of processes>_<rank>'."""
        return {path.stem: json.loads(path.read_text()) for path in self.folder.glob("seen/*.json")}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Write data and config; the folder has a space in its name, which scripts must survive."""
    folder = tmp_path_factory.mktemp("tiny run")
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    train_ids = _write_images(folder, "train", 1, TRAIN_IMAGES, random)
    test_ids = _write_images(folder, "test", 1 + len(train_ids), TEST_IMAGES, random)
    (folder / "seen_images.py").write_text(SEEN_IMAGES)
    (folder / "tiny.py").write_text(CONFIG.replace("{folder}", str(folder)))
    return TinyRun(folder, test_ids)


@pytest.fixture(scope="session")
def checkpoint(tiny_run: TinyRun) -> Path:
    """Train one epoch in one process."""
    tiny_run.tool("train", tiny_run.config, "--work-dir", tiny_run.folder / "one")
    return tiny_run.folder / "one" / "epoch_1.pth"


def _write_images(folder: Path, split: str, first_id: int, count: int, random) -> list[int]:
    """Write gray images with one bright square each and their COCO file; return their ids."""
    images, annotations = [], []
    for img_id in range(first_id, first_id + count):
        side = int(random.integers(12, 20))
        x, y = (int(value) for value in random.integers(0, SIZE - side, 2))
        pixels = random.integers(40, 80, (SIZE, SIZE)).astype(np.uint8)
        pixels[y : y + side, x : x + side] += 120
        cv2.imwrite(str(folder / "images" / f"{img_id}.png"), pixels)
        images.append({"id": img_id, "file_name": f"{img_id}.png", "height": SIZE, "width": SIZE})
        corners = [x, y, x + side, y, x + side, y + side, x, y + side]
        annotations.append(
            {
                "id": img_id,
                "image_id": img_id,
                "category_id": 1,
                "bbox": [x, y, side, side],
                "area": side * side,
                "segmentation": [corners],
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1, "name": "cell"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content))
    return [image["id"] for image in images]
