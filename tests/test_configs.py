"""Every config loads, names what it uses, and takes one training and one test step on tiny images."""

from __future__ import annotations

import copy
import functools
import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import nn

from cellseg_mmdet.converters.annotations import write_annotations
from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.engine.config import enable_tta, keep_soft_masks
from cellseg_mmdet.fusion.dumps import fuse_dumps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.models import UNetInstance
from cellseg_mmdet.predictions import ImagePrediction, load_predictions

CONFIGS = Path(__file__).parents[1] / "configs"
BASES = sorted(CONFIGS.glob("_base_/**/*.py"))
LEAVES = sorted(set(CONFIGS.rglob("*.py")) - set(BASES))
R50 = CONFIGS / "mask_rcnn/mask-rcnn_r50_fpn_20e_sartorius.py"
R50_STOCK = CONFIGS / "mask_rcnn/mask-rcnn_r50_fpn_20e_stock-masks_sartorius.py"
S50 = CONFIGS / "resnest/mask-rcnn_s50_fpn_syncbn-backbone+head_ms-20e_sartorius.py"
CELL = [path for path in LEAVES if "_cell_" in path.name]
DENSE = [path for path in LEAVES if "_dense_" in path.name]
SMALL_MASK_RCNN = CONFIGS / "mask_rcnn/mask-rcnn_r18_fpn_cpu_dsb2018.py"
SMALL_UNET = CONFIGS / "unet/unet_cpu_dsb2018.py"
# The seeds' U-Nets look at an image once.
PIPELINE_OF = {
    "train_dataloader": "train_pipeline",
    "val_dataloader": "test_pipeline",
    "test_dataloader": "test_pipeline",
}
CLASSES = ("astro", "cort", "shsy5y")


class Layout(NamedTuple):
    """Where a data set has its images, and its annotations of the split to train on, to validate on, and to test on."""

    classes: tuple[str, ...]
    images: str
    train: str
    val: str
    test_images: str
    test: str = ""  # nobody annotated the test images


FOLDS = ("annotations/train_fold{fold}.json", "annotations/val_fold{fold}.json")
LAYOUTS = {
    "sartorius": Layout(CLASSES, "train/", *FOLDS, "test/"),
    "synthetic": Layout(CLASSES, "train/", *FOLDS, "test/"),
    "dsb2018": Layout(
        ("nucleus",),
        "stage1_train/",
        *FOLDS,
        "stage1_test/",
        "annotations/stage1_test/all.json",
    ),
    "livecell": Layout(
        ("cell",),
        "images/",
        "annotations/train.json",
        "annotations/val.json",
        "images/",
        "annotations/test.json",
    ),
}
SIZE = 64  # images of SIZE x SIZE pixels

every_leaf = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)


def data_of(path: Path) -> str:
    """Return the name of a leaf's data set, its last word."""
    return path.stem.rsplit("_", 1)[1]


@functools.cache
def load_once(path: Path) -> Config:
    # Half a second: mmengine reads all of mmdet's metafiles for each `mmdet::` base.
    return load_config(path)


def load(path: Path) -> Config:
    return copy.deepcopy(load_once(path))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tensors this small gain nothing from a second thread, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def plain_environment():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CELLSEG_DATA", "CELLSEG_FOLD", "CELLSEG_SPLIT"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the configs' data below it: a handful of square cells on tiny images."""
    root = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    for name, layout in LAYOUTS.items():
        folder = root / "data" / name
        (folder / layout.images).mkdir(parents=True)
        records = [
            draw(
                folder / layout.images / f"{number}.png",
                layout.classes[number % len(layout.classes)],
                rng,
            )
            for number in range(6)
        ]
        for ann_file, part in ((layout.train, records[:3]), (layout.val, records[3:])):
            path = folder / ann_file.format(fold=0)
            write_annotations(path, part, categories=layout.classes)
    return root


def draw(path: Path, cell_type: str, rng: np.random.Generator) -> ImageRecord:
    label_map = np.zeros((SIZE, SIZE), np.int32)
    for number, (y, x) in enumerate([(4, 6), (8, 36), (38, 10), (40, 40)], start=1):
        label_map[y : y + 18, x : x + 18] = number
    image = np.where(label_map > 0, 170, 120) + rng.integers(-9, 10, label_map.shape)
    assert cv2.imwrite(str(path), image.astype(np.uint8))
    masks = Runs.from_label_map(label_map)
    return ImageRecord(path.name, SIZE, SIZE, masks, (cell_type,) * len(masks), cell_type)


def shrink(cfg: Config) -> None:
    """Keep images tiny, batches and samples few, and load in this process; all else stays as configured."""
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, 2)
    for loader in PIPELINE_OF:
        cfg[loader].update(num_workers=0, persistent_workers=False)
        for step in cfg[loader].dataset.pipeline:
            if "scale" in step:
                step.scale = (SIZE, SIZE)
            if "scales" in step:
                step.scales = [(SIZE, SIZE)]
    if "roi_head" in cfg.model:
        cfg.model.train_cfg.rcnn.sampler.num = 16
        cfg.model.test_cfg.rcnn.max_per_img = 16


def parts_for_masks(model: nn.Module) -> tuple[set[str], nn.Parameter]:
    """Return the names of the losses of masks, which are 0 where every cell is ignored, and weights they reach."""
    if isinstance(model, UNetInstance):
        losses = {f"loss_foreground_{name}" for name in model.losses["foreground"]}
        return losses, model.network.head.weight
    return {"loss_mask"}, model.roi_head.mask_head.convs[0].conv.weight


@every_leaf
def test_takes_a_training_step_and_a_test_step(path, root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    cfg = load(path)
    cfg.merge_from_dict(
        {"work_dir": str(tmp_path), "randomness": {"seed": 0}, "log_level": "ERROR"}
    )
    prepare_model_cfg(cfg)  # reverts SyncBN: there is no process group
    shrink(cfg)
    runner = Runner.from_cfg(cfg)  # loads no weights: init_weights() does
    model = runner.model

    optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.optim_wrapper = optim_wrapper
    runner.train_loop  # noqa: B018  the schedulers ask it for the length of an epoch
    assert len(runner.build_param_scheduler(cfg.param_scheduler)) == len(cfg.param_scheduler)
    batch = next(iter(runner.train_dataloader))
    mask_losses, weights = parts_for_masks(model)
    before = weights.detach().clone()
    losses = model.train_step(batch, optim_wrapper)
    assert len(batch["inputs"]) == cfg.train_dataloader.batch_size
    if "roi_head" in cfg.model:
        assert {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"} < set(losses)
    assert all(math.isfinite(value) for value in losses.values())
    assert all(losses[name] > 0 for name in mask_losses)
    assert not torch.equal(before, weights)

    model.eval()
    dataset = runner.val_dataloader.dataset
    [result] = model.test_step(pseudo_collate([dataset[0]]))
    found = result.pred_instances
    if "roi_head" in cfg.model:  # a U-Net that knows nothing may find nothing
        assert 0 < len(found) <= cfg.model.test_cfg.rcnn.max_per_img
    assert found.masks.shape == (len(found), SIZE, SIZE)
    assert set(found.labels.tolist()) <= set(range(len(dataset.metainfo["classes"])))
    assert result.cell_type == LAYOUTS[data_of(path)].classes[0]

    evaluator = runner.val_loop.evaluator
    evaluator.process(data_samples=[result], data_batch=None)
    scores = evaluator.evaluate(1)
    assert 0 <= scores[cfg.default_hooks.checkpoint.save_best] <= 1


@every_leaf
class TestEveryLeaf:
    def test_data_loaders_use_the_pipelines_it_names(self, path):
        cfg = load(path)
        for loader, pipeline in PIPELINE_OF.items():
            assert cfg[loader].dataset.pipeline == cfg[pipeline], loader

    def test_heads_know_the_classes_of_the_data(self, path):
        cfg = load(path)
        classes = {cfg[loader].dataset.metainfo.classes for loader in PIPELINE_OF}
        assert len(classes) == 1
        num_classes = {UNetInstance.num_classes}
        if "roi_head" in cfg.model:
            heads = cfg.model.roi_head
            num_classes = {heads.bbox_head.num_classes, heads.mask_head.num_classes}
        assert num_classes == {len(classes.pop())}

    def test_metric_scores_what_gets_submitted(self, path):
        cfg = load(path)
        assert cfg.val_evaluator.postprocess == cfg.test_evaluator.postprocess == cfg.postprocess

    def test_folder_fold_and_split_reach_every_part(self, path, monkeypatch):
        for name, value in (("DATA", "/elsewhere"), ("FOLD", "3"), ("SPLIT", "test")):
            monkeypatch.setenv(f"CELLSEG_{name}", value)
        cfg = load_config(path)
        root = f"/elsewhere/{data_of(path)}/"
        layout = LAYOUTS[data_of(path)]
        datasets = {loader: cfg[loader].dataset for loader in PIPELINE_OF}
        assert {dataset.data_root for dataset in datasets.values()} == {root}
        assert datasets["train_dataloader"].ann_file == layout.train.format(fold=3)
        assert datasets["val_dataloader"].ann_file == layout.val.format(fold=3)
        assert cfg.val_evaluator.ann_file == root + layout.val.format(fold=3)
        test = datasets["test_dataloader"]
        assert (test.ann_file, test.data_prefix.img) == (layout.test, layout.test_images)
        assert test.test_mode
        if layout.test:
            assert cfg.test_evaluator.ann_file == root + layout.test
        else:  # nobody annotated these images, nothing can score them
            assert cfg.test_evaluator == []

    def test_tests_on_the_held_out_fold(self, path):
        cfg = load(path)
        assert cfg.test_dataloader == cfg.val_dataloader
        assert cfg.test_evaluator == cfg.val_evaluator

    def test_readme_lists_it(self, path):
        for readme in (CONFIGS / "README.md", path.parent / "README.md"):
            assert path.name in readme.read_text(encoding="utf-8"), readme


def test_every_base_is_used():
    used = "".join(load(path).text for path in LEAVES)
    assert BASES
    assert [str(path) for path in BASES if str(path) not in used] == []


def test_an_unknown_split_is_refused(monkeypatch):
    monkeypatch.setenv("CELLSEG_SPLIT", "train")
    with pytest.raises(ValueError, match="CELLSEG_SPLIT is 'train'"):
        load_config(R50)


class TestSeedExperiment:
    """The numbers of the notebook that the Sartorius configs repeat."""

    @pytest.mark.parametrize(("path", "rate"), [(R50, 0.005), (S50, 0.0025)])
    def test_schedule(self, path, rate):
        cfg = load(path)
        assert cfg.optim_wrapper.optimizer == {
            "type": "SGD",
            "lr": rate,
            "momentum": 0.9,
            "weight_decay": 0.0001,
        }
        assert cfg.optim_wrapper.get("clip_grad") is None
        warm_up, steps = cfg.param_scheduler
        assert (warm_up.type, warm_up.start_factor, warm_up.end, warm_up.by_epoch) == (
            "LinearLR",
            0.001,
            500,
            False,
        )
        assert (steps.type, steps.milestones, steps.gamma) == ("MultiStepLR", [8, 11], 0.1)
        assert cfg.train_cfg.max_epochs == steps.end == 20
        assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 2

    @pytest.mark.parametrize("path", [R50, S50])
    def test_pipelines(self, path):
        cfg = load(path)
        steps = {step.type: step for step in cfg.train_pipeline}
        assert steps["RandomChoiceResize"].scales == [(1333, 1333), (1280, 1280), (1024, 1024)]
        assert steps["RandomChoiceResize"].keep_ratio
        assert steps["RandomFlip"].prob == 0.5
        assert steps["RandomFlip"].direction == ["horizontal", "vertical"]
        assert steps["LoadRoIAnnotations"].with_mask
        resize = cfg.test_pipeline[1]
        assert (resize.type, resize.scale, resize.keep_ratio) == ("Resize", (1280, 1280), True)

    def test_stock_masks_change_nothing_else(self):
        cfg, stock = load(R50), load(R50_STOCK)
        assert stock.train_dataloader.dataset.pipeline == stock.train_pipeline
        assert stock.train_pipeline[1].pop("type") == "LoadAnnotations"
        assert stock.train_pipeline[1].pop("poly2mask")
        assert stock.model.roi_head.mask_head.pop("type") == "FCNMaskHead"
        cfg.train_pipeline[1].pop("type")
        cfg.model.roi_head.mask_head.pop("type")
        assert stock.train_pipeline == cfg.train_pipeline
        assert stock.model == cfg.model

    @pytest.mark.parametrize("path", [R50, S50])
    def test_proposals_and_detections(self, path):
        model = load(path).model
        assert (model.train_cfg.rpn_proposal.nms_pre, model.train_cfg.rpn_proposal.max_per_img) == (
            2000,
            1000,
        )
        assert (model.test_cfg.rpn.nms_pre, model.test_cfg.rpn.max_per_img) == (1000, 1000)
        assert (
            model.train_cfg.rpn_proposal.nms.iou_threshold
            == model.test_cfg.rpn.nms.iou_threshold
            == 0.7
        )
        assert (model.train_cfg.rpn.sampler.num, model.train_cfg.rcnn.sampler.num) == (256, 512)
        rcnn = model.test_cfg.rcnn
        assert (rcnn.score_thr, rcnn.nms.iou_threshold, rcnn.max_per_img, rcnn.mask_thr_binary) == (
            0.05,
            0.5,
            200,
            0.5,
        )
        assert model.rpn_head.anchor_generator.scales == [8]

    def test_resnet(self):
        backbone = load(R50).model.backbone
        assert (backbone.type, backbone.depth, backbone.frozen_stages, backbone.norm_eval) == (
            "ResNet",
            50,
            1,
            True,
        )
        assert backbone.init_cfg.checkpoint == "torchvision://resnet50"

    def test_resnest(self):
        model = load(S50).model
        assert model.data_preprocessor.mean == [123.68, 116.779, 103.939]
        assert model.data_preprocessor.std == [58.393, 57.12, 57.375]
        assert model.data_preprocessor.bgr_to_rgb
        backbone = model.backbone
        assert (backbone.type, backbone.depth, backbone.radix, backbone.norm_eval) == (
            "ResNeSt",
            50,
            2,
            False,
        )
        assert (backbone.stem_channels, backbone.reduction_factor, backbone.avg_down_stride) == (
            64,
            4,
            True,
        )
        assert backbone.init_cfg.checkpoint == "open-mmlab://resnest50"
        heads = model.roi_head
        assert (heads.bbox_head.type, heads.bbox_head.conv_out_channels) == (
            "Shared4Conv1FCBBoxHead",
            256,
        )
        assert {part.norm_cfg.type for part in (backbone, heads.bbox_head, heads.mask_head)} == {
            "SyncBN"
        }


@pytest.mark.parametrize("path", CELL, ids=lambda path: path.stem)
def test_cell_variants_read_the_same_files_as_one_class(path):
    cfg = load(path)
    for loader in PIPELINE_OF:
        dataset = cfg[loader].dataset
        assert (dataset.single_class, dataset.metainfo.classes) == ("cell", ("cell",))
    assert cfg.val_evaluator.single_class == cfg.test_evaluator.single_class == "cell"


@pytest.mark.parametrize("path", DENSE, ids=lambda path: path.stem)
def test_dense_variants_have_room_for_the_densest_image(path):
    model = load(path).model
    assert model.test_cfg.rcnn.max_per_img >= 1000
    assert model.test_cfg.rpn.max_per_img >= 3000
    generator = model.rpn_head.anchor_generator
    assert min(generator.strides) * min(generator.scales) == 16


def test_livecell_weights_fit_the_sartorius_config_that_starts_from_them():
    start = CONFIGS / "mask_rcnn/mask-rcnn_r50_fpn_dense_20e_livecell.py"
    cfg = load(
        CONFIGS / "mask_rcnn/mask-rcnn_r50_fpn_dense_20e_livecell-pretrained_cell_sartorius.py"
    )
    assert cfg.load_from == f"work_dirs/{start.stem}/epoch_{load(start).train_cfg.max_epochs}.pth"
    models = [load_config(path).model for path in (start, Path(cfg.filename))]
    for model in models:
        model.pop("test_cfg")  # says how many cells are kept, and nothing of the weights
    assert models[0] == models[1]


def test_there_are_variants_of_both_backbones():
    for variants in (CELL, DENSE):
        assert {path.parent.name for path in variants} == {"mask_rcnn", "resnest"}


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_views_are_prepared_as_the_image_alone(path):
    cfg = load(path)
    enable_tta(cfg)
    *before, views = cfg.tta_pipeline
    _flips, _turns, [pack] = views.transforms
    assert before == cfg.test_pipeline[:-1]
    assert {*cfg.test_pipeline[-1].meta_keys, "homography_matrix"} == {*pack.meta_keys}


@torch.no_grad()
def predict_views(path: Path, weights: dict[str, torch.Tensor], out: Path) -> ImagePrediction:
    """Do for one image what ``tools/test.py --tta --soft-masks`` does, with first weights but for those given."""
    cfg = load(path)
    if "roi_head" in cfg.model:
        cfg.model.test_cfg.rcnn.max_per_img = 16
    keep_soft_masks(cfg)
    enable_tta(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    model.module.load_state_dict(weights, strict=False)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    evaluator = Evaluator([dict(type="DumpPredictions", out_file_path=str(out))])
    evaluator.process(model.test_step(pseudo_collate([dataset[0]])))
    evaluator.evaluate(1)
    [prediction] = load_predictions(out)
    return prediction


def test_views_and_soft_masks_of_both_kinds_of_models_fuse(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    dumps = mask_rcnn_dump, unet_dump = tmp_path / "mask_rcnn.pkl", tmp_path / "unet.pkl"
    everywhere = {
        "network.head.weight": torch.zeros(2, 16, 1, 1),
        "network.head.bias": torch.tensor([2.0, -2.0]),  # of a cell, and of no cell's rim
    }

    by_unet = predict_views(SMALL_UNET, everywhere, unet_dump)
    assert by_unet.masks.areas.tolist() == [SIZE * SIZE]
    assert by_unet.soft_masks.shape == (1, 28, 28)
    assert (by_unet.soft_masks == round(255 / (1 + math.exp(-2)))).all()

    by_mask_rcnn = predict_views(SMALL_MASK_RCNN, {}, mask_rcnn_dump)
    assert by_mask_rcnn.soft_masks.shape == (16, 28, 28)

    summary = fuse_dumps(dumps, tmp_path / "fused.pkl", classes=["nucleus"], workers=1)
    assert summary.without_soft_masks == ()
    [fused] = load_predictions(tmp_path / "fused.pkl")
    assert fused.soft_masks.shape == (len(fused), 28, 28)
    assert SIZE * SIZE in fused.masks.areas
