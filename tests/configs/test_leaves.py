"""Every config loads, and names what it uses."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from cellseg_mmdet.engine import DataChoice, choose_data, load_config
from cellseg_mmdet.engine.config import enable_tta
from tests.configs.leaves import (
    BASES,
    CONFIGS,
    LAYOUTS,
    LEAVES,
    PIPELINE_OF,
    data_of,
    layout_of,
    load,
)

CELL = [path for path in LEAVES if "_cell_" in path.name]
DATA_SETS = sorted((CONFIGS / "_base_/datasets").glob("*.py"))
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
        num_classes = {cfg.model.get("num_classes", 1)}
        if "roi_head" in cfg.model:
            heads = cfg.model.roi_head
            num_classes = {heads.bbox_head.num_classes, heads.mask_head.num_classes}
        assert num_classes == {len(classes.pop())}

    def test_targets_are_of_the_models_code(self, path):
        cfg = load(path)
        assert cfg.train_pipeline[-1].get("code") == cfg.model.get("code")

    def test_metric_scores_what_gets_submitted(self, path):
        cfg = load(path)
        assert cfg.val_evaluator.postprocess == cfg.test_evaluator.postprocess == cfg.postprocess

    def test_folder_fold_and_split_reach_every_part(self, path):
        root = f"/elsewhere/{data_of(path)}/"
        layout = layout_of(path)
        has_folds = "{fold}" in layout.train
        cfg = load(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CELLSEG_DATA", "/elsewhere")
            choose_data(
                cfg,
                DataChoice(
                    fold=3 if has_folds else None, split="test" if layout.test_images else None
                ),
            )
        datasets = {loader: cfg[loader].dataset for loader in PIPELINE_OF}
        assert {dataset.data_root for dataset in datasets.values()} == {root}
        assert datasets["train_dataloader"].ann_file == layout.train.format(fold=3)
        assert datasets["val_dataloader"].ann_file == layout.val.format(fold=3)
        assert cfg.val_evaluator.ann_file == root + layout.val.format(fold=3)
        test = datasets["test_dataloader"]
        assert test.test_mode
        if not layout.test_images:
            assert (test.ann_file, test.data_prefix.img) == (layout.val, layout.images)
            assert cfg.test_evaluator.ann_file == root + layout.val
            assert "'data/" not in str(cfg.to_dict())
            return
        assert (test.ann_file, test.data_prefix.img) == (layout.test, layout.test_images)
        if layout.test:
            assert cfg.test_evaluator.ann_file == root + layout.test
        else:  # nobody annotated these images, nothing can score them
            assert cfg.test_evaluator == []
        assert "fold0" not in str(cfg.to_dict())
        assert "'data/" not in str(cfg.to_dict())

    def test_tests_on_the_held_out_fold(self, path):
        cfg = load(path)
        assert cfg.test_dataloader == cfg.val_dataloader
        assert cfg.test_evaluator == cfg.val_evaluator

    def test_data_are_those_of_its_name(self, path):
        assert data_sets_in(load(path)) == {f"{data_of(path)}.py"}

    def test_readme_lists_it(self, path):
        for readme in (CONFIGS / "README.md", path.parent / "README.md"):
            assert path.name in readme.read_text(encoding="utf-8"), readme


def test_every_base_is_used():
    used = "".join(load(path).text for path in LEAVES)
    assert BASES
    assert [str(path) for path in BASES if str(path) not in used] == []


@pytest.mark.parametrize("path", DATA_SETS, ids=lambda path: path.stem)
def test_a_data_set_inherits_from_no_other(path):
    assert data_sets_in(Config.fromfile(path)) == {path.name}


def test_editing_one_data_set_changes_no_other(tmp_path):
    configs = tmp_path / "configs"
    shutil.copytree(CONFIGS, configs)
    (configs / "_base_/datasets/sartorius.py").write_text("raise RuntimeError('edited')\n")
    others = {data_of(path): path for path in LEAVES if data_of(path) != "sartorius"}
    assert set(others) == set(LAYOUTS) - {"sartorius"}
    for path in others.values():
        edited = load_config(configs / path.relative_to(CONFIGS))
        assert edited.to_dict() == load(path).to_dict()


def data_sets_in(cfg: Config) -> set[str]:
    """Return the names of the data sets' files that a config is made of; its text names each in a line."""
    files = {Path(line) for line in cfg.text.splitlines() if line.endswith(".py")}
    return {path.name for path in DATA_SETS if path in files}


@pytest.mark.parametrize("path", BASES + LEAVES, ids=lambda path: path.stem)
def test_evaluators_ask_no_question(path):
    """Whether the test images have annotations is for `choose_data` to know, not for each leaf."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp)
        for target in node.targets
    ]
    assert names == []
    assert not any(isinstance(node, ast.If) for node in tree.body)


def test_meta_keys_stand_in_one_file():
    files = [path.name for path in BASES + LEAVES if '"scale_factor"' in path.read_text("utf-8")]
    assert files == ["cell_data.py"]


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
