"""The shipped configs, and the data that they name."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from cellseg_mmdet.engine import load_config

CONFIGS = Path(__file__).parents[2] / "configs"
BASES = sorted(CONFIGS.glob("_base_/**/*.py"))
LEAVES = sorted(set(CONFIGS.rglob("*.py")) - set(BASES))
R50 = CONFIGS / "mask_rcnn/mask-rcnn_r50_fpn_20e_sartorius.py"
S50 = CONFIGS / "resnest/mask-rcnn_s50_fpn_syncbn-backbone+head_ms-20e_sartorius.py"
PIPELINE_OF = {
    "train_dataloader": "train_pipeline",
    "val_dataloader": "test_pipeline",
    "test_dataloader": "test_pipeline",
}
CLASSES = ("astro", "cort", "shsy5y")
SIZE = 64  # images drawn for the configs have SIZE x SIZE pixels


class Layout(NamedTuple):
    """Where a data set has its images, and its annotations of the split to train on, to validate on, and to test on."""

    classes: tuple[str, ...]
    images: str
    train: str
    val: str
    test_images: str = ""  # there are none
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
    "usiigaci": Layout(
        ("cell",), "images/", "annotations/phase_train.json", "annotations/phase_held_out.json"
    ),
}
SPLIT_BY_SOURCE = ("annotations/nuclei_train.json", "annotations/nuclei_held_out.json")
LAYOUTS_OF_LEAVES = {
    "pixel_lite0_flow_nuclei_dsb2018": Layout(("nucleus",), "stage1_train/", *SPLIT_BY_SOURCE)
}


def data_of(path: Path) -> str:
    """Return the name of a leaf's data set, its last word."""
    return path.stem.rsplit("_", 1)[1]


def layout_of(path: Path) -> Layout:
    """Return where a leaf has its images and annotations."""
    return LAYOUTS_OF_LEAVES.get(path.stem, LAYOUTS[data_of(path)])


@functools.cache
def load_once(path: Path) -> Config:
    # Half a second: mmengine reads all of mmdet's metafiles for each `mmdet::` base.
    return load_config(path)


def load(path: Path) -> Config:
    return copy.deepcopy(load_once(path))
