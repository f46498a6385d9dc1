from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from mmengine.config import Config

from cellseg_mmdet.cli.arguments import add_data_arguments
from cellseg_mmdet.config_content import class_names, dataset_of
from cellseg_mmdet.engine import DataChoice, choose_data, load_config
from cellseg_mmdet.errors import UsageError

NAME = "mask-rcnn_r18_fpn_cpu_sartorius"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "FOLD", "SPLIT"):
        monkeypatch.delenv(f"CELLSEG_{name}", raising=False)


@pytest.fixture
def cfg() -> Config:
    """Two data sets joined, one of them repeated, and two metrics; the test images are not annotated."""
    return Config(
        {
            "data_root": "data/mine/",
            "fold": 0,
            "test_split": "val",
            "test_splits": {
                "val": {"ann_file": "ann/val_fold0.json"},
                "test": {"ann_file": "", "data_prefix": {"img": "test/"}},
            },
            "train_dataloader": {
                "dataset": {
                    "type": "ConcatDataset",
                    "datasets": [
                        {"data_root": "data/mine/", "ann_file": "ann/train_fold0.json"},
                        {"dataset": {"data_root": "data/other/", "ann_file": "all.json"}},
                        {"data_root": "/fold0/kept/", "ann_file": "fold01.json"},
                    ],
                }
            },
            "test_dataloader": {
                "dataset": {
                    "dataset": {"data_root": "data/mine/", "ann_file": "ann/val_fold0.json"}
                }
            },
            "val_evaluator": {"type": "CellMetric", "ann_file": "data/mine/ann/val_fold0.json"},
            "test_evaluator": [
                {"type": "CellMetric", "ann_file": "data/mine/ann/val_fold0.json"},
                {"type": "Speed"},
            ],
        }
    )


def training_files(cfg: Config) -> list[str]:
    first, second, third = cfg.train_dataloader.dataset.datasets
    return [part.data_root + part.ann_file for part in (first, second.dataset, third)]


def test_nothing_chosen_changes_nothing(cfg: Config) -> None:
    before = cfg.to_dict()
    choose_data(cfg)
    choose_data(cfg, DataChoice(split="val", fold=0))
    assert cfg.to_dict() == before


def test_folder_of_all_data_sets(cfg: Config, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    choose_data(cfg, DataChoice(data=str(tmp_path)))
    assert training_files(cfg) == [
        f"{tmp_path}/mine/ann/train_fold0.json",
        f"{tmp_path}/other/all.json",
        "/fold0/kept/fold01.json",
    ]
    assert cfg.val_evaluator.ann_file == f"{tmp_path}/mine/ann/val_fold0.json"
    assert cfg.data_root == f"{tmp_path}/mine/"


@pytest.mark.parametrize(
    ("root", "moved"),
    [
        ("mine/", "new/mine/"),
        ("mine", "new/mine"),
        ("/mine/", "new/mine/"),
        ("/a/mine", "new/mine"),
    ],
)
def test_folder_of_roots_of_all_forms(
    root: str, moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new/mine").mkdir(parents=True)
    cfg = Config({"data_root": root, "x": {"data_root": root, "ann_file": "annotations/a.json"}})
    choose_data(cfg, DataChoice(data="new"))
    assert cfg.to_dict() == {
        "data_root": moved,
        "x": {"data_root": moved, "ann_file": "annotations/a.json"},
    }


def test_a_part_that_stands_twice_in_a_config_is_moved_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/new/mine").mkdir(parents=True)
    cfg = Config({"data_root": "data/mine/", "x": {"data_root": "data/mine/"}})
    cfg._cfg_dict["y"] = cfg.x
    choose_data(cfg, DataChoice(data="data/new"))
    assert cfg.x.data_root == cfg.y.data_root == "data/new/mine/"


def test_a_folder_without_the_data_set_is_refused(cfg: Config, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(
        UsageError, match=rf"^--data {folder}: there is no folder {folder}/mine; .* mine/$"
    ):
        choose_data(cfg, DataChoice(data=str(folder)))


def test_fold_is_a_number_in_the_name_of_a_file(cfg: Config) -> None:
    choose_data(cfg, DataChoice(fold=12))
    assert training_files(cfg) == [
        "data/mine/ann/train_fold12.json",
        "data/other/all.json",
        "/fold0/kept/fold01.json",
    ]
    assert cfg.val_evaluator.ann_file == "data/mine/ann/val_fold12.json"
    choose_data(cfg, DataChoice(fold=3))
    assert cfg.val_evaluator.ann_file == "data/mine/ann/val_fold3.json"
    assert cfg.test_splits.val.ann_file == "ann/val_fold3.json"


def test_split_and_back(cfg: Config) -> None:
    before = cfg.to_dict()
    choose_data(cfg, DataChoice(split="test"))
    assert cfg.test_dataloader.dataset.dataset == {
        "data_root": "data/mine/",
        "ann_file": "",
        "data_prefix": {"img": "test/"},
    }
    assert cfg.test_evaluator == []
    assert cfg.val_evaluator.to_dict() == before["val_evaluator"]
    choose_data(cfg, DataChoice(split="val"))
    assert cfg.test_dataloader.dataset.dataset.ann_file == "ann/val_fold0.json"
    assert cfg.test_evaluator == cfg.val_evaluator


def test_annotated_test_images_are_scored(cfg: Config) -> None:
    cfg.test_splits.test.ann_file = "ann/test.json"
    choose_data(cfg, DataChoice(split="test"))
    cell, speed = cfg.test_evaluator
    assert cell.ann_file == "data/mine/ann/test.json"
    assert speed == {"type": "Speed"}


def test_a_dumped_config_can_be_chosen_for_anew(tmp_path: Path) -> None:
    """What is dumped is what was used, and says enough to choose again."""
    chosen = load_config(NAME, data=DataChoice(fold=1, split="test"))
    chosen.dump(tmp_path / "dumped.py")
    again = load_config(tmp_path / "dumped.py")
    assert again.train_dataloader.dataset.ann_file == "annotations/train_fold1.json"
    assert again.test_evaluator == []
    back = load_config(tmp_path / "dumped.py", data=DataChoice(fold=0, split="val"))
    assert back.to_dict() == load_config(NAME).to_dict()


def test_options_go_over_the_choice() -> None:
    options = {"train_dataloader.dataset.ann_file": "annotations/all.json"}
    cfg = load_config(NAME, options, DataChoice(fold=2))
    assert cfg.train_dataloader.dataset.ann_file == "annotations/all.json"
    assert cfg.val_dataloader.dataset.ann_file == "annotations/val_fold2.json"


def test_arguments_go_before_the_environment(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLSEG_FOLD", "4")
    monkeypatch.setenv("CELLSEG_DATA", "")  # as good as unset
    parser = argparse.ArgumentParser()
    add_data_arguments(parser, split=True)
    choose_data(cfg, DataChoice.from_arguments(parser.parse_args(["--split", "test"])))
    assert (cfg.fold, cfg.test_split, cfg.data_root) == (4, "test", "data/mine/")
    choose_data(cfg, DataChoice.from_arguments(parser.parse_args(["--fold", "1"])))
    assert cfg.fold == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FOLD", "one", r"^fold 'one' \(--fold or CELLSEG_FOLD\) is not a number from 0 on$"),
        ("FOLD", "-1", "^fold '-1'"),
        ("SPLIT", "train", r"^split 'train' .* allowed are 'val' and 'test'$"),
    ],
)
def test_what_is_no_fold_or_split(
    cfg: Config, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"CELLSEG_{variable}", value)
    with pytest.raises(UsageError, match=message):
        choose_data(cfg)


def test_a_config_without_folds_minds_the_option_but_not_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELLSEG_FOLD", "1")
    livecell = "mask-rcnn_r50_fpn_dense_20e_livecell"
    assert "fold" not in load_config(livecell)
    with pytest.raises(UsageError, match=rf"^--fold 1: .*{livecell}\.py has no fold, so"):
        load_config(livecell, data=DataChoice(fold=1))


def test_each_of_a_list_of_annotation_files_is_moved_and_takes_the_fold() -> None:
    files = ["data/cells/val_fold0.json", "data/cells/more_fold0.json"]
    cfg = Config({"data_root": "data/cells/", "fold": 0, "val_evaluator": {"ann_file": files}})
    choose_data(cfg, DataChoice(fold=3))
    assert cfg.val_evaluator.ann_file == [name.replace("fold0", "fold3") for name in files]


def test_of_joined_data_sets_the_first_says_the_classes() -> None:
    first = {"type": "CellDataset", "metainfo": {"classes": ["cort"]}}
    loader = {"dataset": {"type": "ConcatDataset", "datasets": [first, {"type": "CellDataset"}]}}
    assert dataset_of({"val_dataloader": loader}, "val_dataloader") == first
    assert class_names({"val_dataloader": loader}) == ("cort",)
