from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmdet.datasets.transforms import Mosaic, RandomShift
from mmdet.registry import TRANSFORMS
from mmengine.config import Config

import cellseg_mmdet.datasets  # noqa: F401  # registers ours
from cellseg_mmdet.datasets import CellDataset
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.mask_pipelines import (
    LEAVE_MASKS,
    LEAVE_MASKS_IN_MMCV,
    REFUSE_MASKS,
    check_pipelines,
    check_steps,
)
from tests.datasets.transforms import mmdet_transforms

LOAD = dict(type="LoadRoIAnnotations", with_mask=True)
SHIFT = dict(type="RandomShift")


class MyMosaic(Mosaic):
    """One that moves masks, say."""


def test_what_is_refused_is_what_was_seen_to_leave_masks_or_to_stop() -> None:
    assert set(LEAVE_MASKS) == set(mmdet_transforms.LEAVE_MASKS)
    assert set(REFUSE_MASKS) == set(mmdet_transforms.REFUSE_MASKS)
    assert {f"mmcv.{name}" for name in LEAVE_MASKS_IN_MMCV} == set(mmdet_transforms.LEAVE_IN_MMCV)
    for instead in [*LEAVE_MASKS.values(), *REFUSE_MASKS.values(), *LEAVE_MASKS_IN_MMCV.values()]:
        for name in instead:
            assert TRANSFORMS.get(name) is not None
            assert name not in {*LEAVE_MASKS, *REFUSE_MASKS}


@pytest.mark.parametrize(
    ("step", "place", "told"),
    [
        pytest.param(dict(type="Mosaic"), "[1]", "use CachedMosaic instead", id="name"),
        pytest.param(dict(type="mmdet.MixUp"), "[1]", "use CachedMixUp instead", id="scope"),
        pytest.param(dict(type=RandomShift), "[1]", "TranslateX, Tr.* or RandomRef", id="class"),
        pytest.param(RandomShift(), "[1]", "TranslateX", id="object"),
        pytest.param(
            dict(type="mmdet.datasets.transforms.transforms.RandomShift"),
            "[1]",
            "TranslateX",
            id="path of a class",
        ),
        pytest.param(dict(type="RandomAffine"), "[1]", "takes no masks", id="stops"),
        pytest.param(dict(type="mmcv.RandomFlip"), "[1]", r"use mmdet\.RandomFlip", id="mmcv's"),
        pytest.param(
            dict(type="RandomApply", transforms=[dict(type="Resize"), SHIFT], prob=0.5),
            "[1].transforms[1]",
            "RandomShift",
            id="inside another",
        ),
        pytest.param(
            dict(type="RandomChoice", transforms=[[dict(type="Resize")], [SHIFT]]),
            "[1].transforms[1][0]",
            "RandomShift",
            id="in one of several ways",
        ),
        pytest.param(
            dict(type="RandomApply", transforms=SHIFT), "[1].transforms", "RandomShift", id="alone"
        ),
        pytest.param(
            dict(type="Albu", transforms=[], keymap=dict(img="image", gt_bboxes="bboxes")),
            "[1]",
            "a keymap with gt_masks='masks'",
            id="Albu without masks",
        ),
    ],
)
def test_a_transform_is_named_with_its_place_and_what_to_use(
    step: Any, place: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        check_steps([LOAD, step])
    assert str(error.value).startswith(f"pipeline{place}: ")
    assert "LoadRoIAnnotations (pipeline[0])" in str(error.value)


@pytest.mark.parametrize(
    "pipeline",
    [
        pytest.param([], id="empty"),
        pytest.param([dict(type="LoadRoIAnnotations", with_bbox=True), SHIFT], id="boxes only"),
        pytest.param([dict(type="LoadAnnotations", with_mask=False), SHIFT], id="no masks"),
        pytest.param([SHIFT, LOAD], id="before the masks"),
        pytest.param([LOAD, dict(type="CachedMosaic"), dict(type="CachedMixUp")], id="cached"),
        pytest.param([LOAD, dict(type="RandomFlip"), dict(type="mmdet.Resize")], id="mmdet's"),
        pytest.param([LOAD, dict(type=MyMosaic)], id="a class of another package"),
        pytest.param([LOAD, dict(type="mine.transforms.Mosaic")], id="of another scope"),
        pytest.param([LOAD, dict(type="Albu", transforms=[dict(type="Mosaic")])], id="Albu's"),
        pytest.param(
            [LOAD, dict(type="Albu", transforms=[], keymap=dict(img="image"))], id="picture alone"
        ),
        pytest.param([LOAD, None, 3, dict(type=3)], id="nonsense, which mmengine tells"),
    ],
)
def test_others_pass(pipeline: list[Any]) -> None:
    check_steps(pipeline)


def test_whatever_has_no_case_in_the_tables_passes() -> None:
    for name, configs in mmdet_transforms.CASES.items():
        for arguments in configs:
            check_steps([LOAD, dict(type=name, **arguments)])


DATASET = dict(type="CellDataset", pipeline=[LOAD])
MIXED = dict(type="MultiImageMixDataset", dataset=DATASET, pipeline=[dict(type="Mosaic")])


@pytest.mark.parametrize(
    ("config", "place"),
    [
        pytest.param(
            dict(train_dataloader=dict(dataset=dict(DATASET, pipeline=[LOAD, SHIFT]))),
            "train_dataloader.dataset.pipeline[1]: RandomShift",
            id="data set",
        ),
        pytest.param(
            dict(val_dataloader=dict(dataset=dict(DATASET, pipeline=[LOAD, SHIFT]))),
            "val_dataloader.dataset.pipeline[1]: RandomShift",
            id="validation",
        ),
        pytest.param(
            dict(train_dataloader=dict(dataset=MIXED)),
            "train_dataloader.dataset.pipeline[0]: Mosaic",
            id="wrapper",
        ),
        pytest.param(
            dict(train_dataloader=dict(dataset=dict(type="RepeatDataset", dataset=MIXED))),
            "train_dataloader.dataset.dataset.pipeline[0]: Mosaic",
            id="wrapper of a wrapper",
        ),
        pytest.param(
            dict(train_dataloader=dict(dataset=dict(datasets=[DATASET, MIXED]))),
            "train_dataloader.dataset.datasets[1].pipeline[0]: Mosaic",
            id="several",
        ),
        pytest.param(
            dict(
                train_dataloader=dict(dataset=DATASET),
                custom_hooks=[
                    dict(type="A"),
                    dict(type="PipelineSwitchHook", switch_pipeline=[LOAD, SHIFT]),
                ],
            ),
            "custom_hooks[1].switch_pipeline[1]: RandomShift",
            id="hook",
        ),
        pytest.param(
            dict(
                train_dataloader=dict(dataset=dict(MIXED, pipeline=[dict(type="CachedMosaic")])),
                default_hooks=dict(switch=dict(type="PipelineSwitchHook", switch_pipeline=[SHIFT])),
            ),
            "default_hooks['switch'].switch_pipeline[0]: RandomShift",
            id="hook behind a wrapper",
        ),
    ],
)
def test_configs(config: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_pipelines(Config(config))
    assert str(error.value).startswith(place)


def test_configs_without_faults_or_data_sets_pass() -> None:
    check_pipelines({})
    check_pipelines(dict(train_dataloader=None, custom_hooks=None))
    check_pipelines(
        Config(dict(train_dataloader=dict(dataset=DATASET), custom_hooks=[dict(type="A")]))
    )


def test_the_data_set_refuses_before_it_reads_anything(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"^pipeline\[1\]: RandomShift .*use TranslateX"):
        CellDataset(ann_file=str(tmp_path / "a.json"), pipeline=[LOAD, SHIFT])
