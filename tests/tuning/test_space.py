from __future__ import annotations

import pytest

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tuning.space import find_parameters, with_values
from tests.tuning.scenes import CLASSES, STEPS


def names(*args, **kwargs) -> list[str]:
    return [parameter.name for parameter in find_parameters(*args, **kwargs)]


@pytest.mark.parametrize("classes", [None, ("cell",)])
def test_one_number_where_there_is_one_class(classes: tuple[str, ...] | None) -> None:
    parameters = find_parameters(STEPS, classes)
    assert [parameter.name for parameter in parameters] == [
        "ScoreThreshold.score_thr",
        "MinArea.min_area_px",
        "RemoveOverlaps.min_kept_fraction",
    ]
    assert [parameter.start for parameter in parameters] == [0.5, 3, 0.6]
    assert [parameter.step for parameter in parameters] == [0, 1, 2]
    assert [parameter.integer for parameter in parameters] == [False, True, False]


def test_one_number_per_class() -> None:
    assert names(STEPS[:1], CLASSES) == [
        "ScoreThreshold.score_thr.astro",
        "ScoreThreshold.score_thr.cort",
    ]
    assert names(STEPS[:1], CLASSES, per_class=False) == ["ScoreThreshold.score_thr"]


@pytest.mark.parametrize("per_class", [True, False])
def test_numbers_given_per_class_stay_so(per_class: bool) -> None:
    steps = [{"type": "MinArea", "min_area_px": {"default": 10, "cort": 20}}]
    parameters = find_parameters(steps, CLASSES, per_class=per_class)
    assert {parameter.class_name: parameter.start for parameter in parameters} == {
        "astro": 10,
        "cort": 20,
    }


def test_a_number_that_the_list_leaves_to_the_step() -> None:
    (parameter,) = find_parameters([{"type": "RemoveOverlaps"}], None)
    assert parameter.start == 0


@pytest.mark.parametrize(
    ("value", "low", "high", "log"),
    [
        (30, 1, 500, True),
        (800, 1, 800, True),  # the list's own number is in the range
        (0, 0, 500, False),  # zero has no logarithm
    ],
)
def test_the_range_holds_the_start(value: int, low: int, high: int, log: bool) -> None:
    (parameter,) = find_parameters([{"type": "MinArea", "min_area_px": value}], None)
    assert (parameter.low, parameter.high, parameter.log) == (low, high, log)


def test_steps_that_occur_twice_are_told_apart() -> None:
    steps = [STEPS[0], {"type": "VoteCellType"}, STEPS[0]]
    both = ["ScoreThreshold[0].score_thr", "ScoreThreshold[2].score_thr"]
    assert names(steps, ("cell",)) == both
    assert names(steps, ("cell",), only=both[1:]) == both[1:]
    assert names(steps, ("cell",), only=["ScoreThreshold.score_thr"]) == both


def test_only_some() -> None:
    assert names(STEPS, CLASSES, only=["MinArea.min_area_px"]) == [
        "MinArea.min_area_px.astro",
        "MinArea.min_area_px.cort",
    ]
    with pytest.raises(
        UsageError, match=r"no number 'MinArea.area' to search for; it has ScoreThreshold.score_thr"
    ):
        find_parameters(STEPS, CLASSES, only=["MinArea.area"])


@pytest.mark.parametrize("steps", [[], [{"type": "LargestComponent"}]])
def test_nothing_to_search_for(steps: list) -> None:
    # Also not in the RemoveOverlaps that is put behind such a list: the config could not say its number.
    with pytest.raises(UsageError, match=r"these have: .*ScoreThreshold\.score_thr"):
        find_parameters(steps, None)


def test_numbers_are_put_in_place() -> None:
    only = ["ScoreThreshold.score_thr", "MinArea.min_area_px"]
    parameters = find_parameters(STEPS, CLASSES, only=only[:1])
    parameters += find_parameters(STEPS, CLASSES, only=only[1:], per_class=False)
    values = {
        "ScoreThreshold.score_thr.astro": 0.7,
        "ScoreThreshold.score_thr.cort": 0.2,
        "MinArea.min_area_px": 8,
    }
    assert with_values(STEPS, parameters, values) == [
        {"type": "ScoreThreshold", "score_thr": {"astro": 0.7, "cort": 0.2}},
        {"type": "MinArea", "min_area_px": 8},
        STEPS[2],
    ]
    assert STEPS[0]["score_thr"] == 0.5


@pytest.mark.parametrize(
    ("start", "value", "rounded"), [(0.5, 0.123456, 0.123), (0.123456, 0.123456, 0.123456)]
)
def test_numbers_have_three_digits_but_for_the_start(
    start: float, value: float, rounded: float
) -> None:
    (parameter,) = find_parameters([{"type": "ScoreThreshold", "score_thr": start}], None)
    assert parameter.rounded(value) == rounded


def test_integers_keep_their_digits() -> None:
    (parameter,) = find_parameters([{"type": "MaxArea", "max_area_px": 900}], None)
    assert parameter.rounded(12345) == 12345
