from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.postprocess import STEPS, build_pipeline
from cellseg_mmdet.postprocess.parameters import PerClass, Tunable

CLASSES = ("astro", "cort")
LABELS = np.array([1, 0, 1])
TUNABLE = [(name, parameter) for name in STEPS.names() for parameter in STEPS.get(name).tunable]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, [3, 3, 3]),
        ({"astro": 1, "cort": 2}, [2, 1, 2]),
        ({"cort": 2, "default": 1}, [2, 1, 2]),
        ({"default": 5}, [5, 5, 5]),
    ],
    ids=["one", "each", "one and the others", "the others"],
)
def test_values_per_class(value: Any, expected: list[int]) -> None:
    assert PerClass("x", value, CLASSES, low=0).of(LABELS).tolist() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"astro": 1}, r"x needs .* \['astro', 'cort'\], or a 'default' .*; found \['astro'\]"),
        ({"astro": 1, "cort": 1, "shsy5y": 1}, r"found \['astro', 'cort', 'shsy5y'\]"),
        ({"shsy5y": 1, "default": 1}, r"found \['shsy5y', 'default'\]"),
        ({"astro": 1, "default": -1}, r"x\['default'\]=-1: must be a number of at least 0"),
        ("3", "x='3': must be a number"),
        (float("nan"), "x=nan"),
    ],
)
def test_wrong_values_per_class(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PerClass("x", value, CLASSES, low=0)


def test_there_is_something_to_tune() -> None:
    assert ("ScoreThreshold", Tunable("score_thr", 0.05, 0.95)) in TUNABLE


@pytest.mark.parametrize(
    ("name", "parameter"), TUNABLE, ids=[f"{name}.{parameter.name}" for name, parameter in TUNABLE]
)
def test_a_tunable_parameter_takes_its_range_as_a_number_and_per_class(
    name: str, parameter: Tunable
) -> None:
    assert parameter.name in inspect.signature(STEPS.get(name)).parameters
    assert parameter.low < parameter.high
    values: list[Any] = [parameter.low, parameter.high]
    values.append(dict(zip(CLASSES, values, strict=True)))
    for value in values:
        build_pipeline([{"type": name, parameter.name: value}], CLASSES)
    if parameter.integer:
        with pytest.raises(ConfigError, match="must be an integer"):
            build_pipeline([{"type": name, parameter.name: parameter.low + 0.5}], CLASSES)
