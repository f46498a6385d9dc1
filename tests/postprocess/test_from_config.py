from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.config_content import class_names
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.postprocess.from_config import pipeline_from_config


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.py"
    path.write_text(text)
    return path


def test_the_list_of_a_config_is_built(tmp_path: Path) -> None:
    config = """
custom_imports = dict(imports=["no_such_module"])
val_dataloader = dict(dataset=dict(metainfo=dict(classes=("astro", "cort"))))
postprocess = [
    dict(type="ScoreThreshold", score_thr=dict(cort=0.2, astro=0.7)),
    dict(type="RemoveOverlaps", min_kept_fraction=0.5),
]
"""
    pipeline = pipeline_from_config(write(tmp_path, config))
    assert pipeline.classes == ("astro", "cort")
    assert not pipeline.adds_overlap_removal
    threshold, removal = pipeline.steps
    assert threshold.score_thr.of(np.array([1, 0])).tolist() == [0.2, 0.7]
    assert removal.min_kept_fraction.of(np.array([0])).tolist() == [0.5]


def test_a_config_without_a_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.py has no list `postprocess`"):
        pipeline_from_config(write(tmp_path, "model = dict()\n"))


def test_an_error_names_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.py: postprocess\[0\]: unknown .* 'Blur'"):
        pipeline_from_config(write(tmp_path, 'postprocess = [dict(type="Blur")]\n'))


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        ({}, None),
        ({"metainfo": {"classes": ("a", "b")}}, ("a", "b")),
        ({"val_dataloader": {"dataset": {"metainfo": {"classes": "cell"}}}}, ("cell",)),
        (
            {
                "test_dataloader": None,
                "train_dataloader": {"dataset": {"dataset": {"metainfo": {"classes": ["b", "a"]}}}},
                "metainfo": {"classes": ("x",)},
            },
            ("b", "a"),
        ),
        (
            {"val_dataloader": {"dataset": {"single_class": "cell", "metainfo": {}}}},
            ("cell",),
        ),
    ],
    ids=["unknown", "top level", "one name", "wrapped", "single class"],
)
def test_class_names(config: dict, classes: tuple[str, ...] | None) -> None:
    assert class_names(config) == classes
