from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.inference.training_samples import (
    annotated_images,
    build_training_set,
    draw_samples,
    spread,
    to_sample,
)
from cellseg_mmdet.masks import RoIMasks
from tests.visualization.checked_page import check_page

pytestmark = pytest.mark.slow

ROI_MASKS = {"train_dataloader.dataset.pipeline.1.type": "LoadRoIAnnotations"}


@pytest.fixture(autouse=True)
def modules_of_the_config(tiny_run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tiny_run.folder)


def training_set(tiny_run, options: dict | None = None):
    return build_training_set(load_config(tiny_run.config, options))


def test_page_and_list(tiny_run, tmp_path: Path, capsys) -> None:
    cellseg(
        [
            "browse",
            str(tiny_run.config),
            "--out-dir",
            str(tmp_path),
            "--num-images",
            "4",
            "--num-draws",
            "2",
        ]
    )
    out = capsys.readouterr().out
    assert "index.html: page on 8 images" in out and "oddities.csv: every broken" in out
    html = (tmp_path / "index.html").read_text()
    for heading in (
        "Cell types",
        "Examples",
        "What training sees",
        "Distributions",
        "Odd annotations",
    ):
        assert f"<h2>{heading}</h2>" in html
    check_page(html)
    training = html[html.index("<h2>What training sees") : html.index("<h2>Distributions")]
    assert training.count("<h4>") == 4 and training.count("<img ") == 8
    with (tmp_path / "oddities.csv").open() as file:
        assert list(csv.DictReader(file)) == [], "squares drawn for the test are sound"


@pytest.mark.parametrize(
    ("kinds", "count", "expected"),
    [
        ("aaaaabbbbb", 4, [0, 4, 5, 9]),
        ("aaaaab", 4, [0, 2, 4, 5]),
        ("abcabc", 2, [0, 1]),
        ("abc", 9, [0, 1, 2]),
        ([None] * 5, 3, [0, 2, 4]),
        ("", 3, []),
    ],
)
def test_examples_are_spread_over_kinds_and_over_each_kind(kinds, count, expected) -> None:
    assert spread(list(kinds), count) == expected


def test_both_kinds_of_masks_give_the_same_sample(tiny_run) -> None:
    stock, roi = (training_set(tiny_run, options) for options in (None, ROI_MASKS))
    assert not isinstance(stock[0]["data_samples"].gt_instances.masks, RoIMasks)
    assert isinstance(roi[0]["data_samples"].gt_instances.masks, RoIMasks)
    for index in range(3):
        first, second = to_sample(stock[index]), to_sample(roi[index])
        assert first.name == second.name
        assert first.masks == second.masks
        assert (first.image == second.image).all() and (first.boxes == second.boxes).all()
        # The cell is the bright square, and where its box says.
        x1, y1, x2, y2 = np.rint(first.boxes[0]).astype(int)
        assert first.masks.areas.tolist() == [(x2 - x1) * (y2 - y1)]
        assert first.image[y1:y2, x1:x2].min() > 150 and first.image[0, 0].max() < 200


def test_same_seed_gives_the_same_samples(tiny_run) -> None:
    flip = {"type": "RandomFlip", "prob": 0.5}
    dataset = training_set(tiny_run)
    dataset.pipeline.transforms.insert(2, TRANSFORMS.build(flip))
    once, again, other = (
        np.array(
            [
                s.boxes
                for row in draw_samples(dataset, num_images=3, num_draws=4, seed=seed)
                for s in row
            ]
        )
        for seed in (0, 0, 1)
    )
    assert (once == again).all()
    assert (once != other).any()


@pytest.mark.slow
def test_annotations_of_wrapped_and_joined_data_sets(tiny_run) -> None:
    plain = training_set(tiny_run)
    records = annotated_images(plain)
    assert all(Path(record.file_name).is_file() for record in records)
    cfg = load_config(tiny_run.config)
    inner = cfg.train_dataloader.dataset
    for wrapper, times in (
        (dict(type="RepeatDataset", times=3, dataset=inner), 1),
        (dict(type="ConcatDataset", datasets=[inner, inner]), 2),
    ):
        cfg.train_dataloader.dataset = wrapper
        assert len(annotated_images(build_training_set(cfg))) == times * len(records)


def test_pipeline_that_gives_something_else_is_refused() -> None:
    with pytest.raises(CellsegError, match="must end with PackDetInputs"):
        to_sample({"img": np.zeros((2, 2))})
