"""Every config loads, and names what it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.engine.config import enable_tta
from cellseg_mmdet.models import UNetInstance
from tests.configs.leaves import BASES, CONFIGS, LAYOUTS, LEAVES, PIPELINE_OF, R50, data_of, load

CELL = [path for path in LEAVES if "_cell_" in path.name]
DENSE = [path for path in LEAVES if "_dense_" in path.name]

every_leaf = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)


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


@every_leaf
def test_views_are_prepared_as_the_image_alone(path):
    cfg = load(path)
    enable_tta(cfg)
    *before, views = cfg.tta_pipeline
    _flips, _turns, [pack] = views.transforms
    assert before == cfg.test_pipeline[:-1]
    assert {*cfg.test_pipeline[-1].meta_keys, "homography_matrix"} == {*pack.meta_keys}
