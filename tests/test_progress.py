from __future__ import annotations

import pytest

from cellseg_mmdet.progress import available_cores, parallel_map


def square(number: int) -> int:
    return number * number


def fail_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError(f"no {number}")
    return number


@pytest.mark.parametrize("workers", [1, 2, None])
def test_results_are_in_the_order_of_the_items(workers: int | None) -> None:
    items = list(range(40))
    assert parallel_map(square, items, description="square", workers=workers) == [
        n * n for n in items
    ]


def test_nothing_to_do() -> None:
    assert parallel_map(square, [], description="square") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_worker_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="no 7"):
        parallel_map(fail_at_seven, list(range(40)), description="fail", workers=workers)


def test_there_is_a_core() -> None:
    assert available_cores() >= 1
