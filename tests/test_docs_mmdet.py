"""The tables of docs/mmdet.md name what the tests of mmdet's parts run, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from cellseg_mmdet import mask_pipelines
from tests.datasets.transforms import mmdet_transforms
from tests.models import mmdet_segmenters

TEXT = (Path(__file__).parents[1] / "docs/mmdet.md").read_text(encoding="utf-8")


def rows(name: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    table = TEXT.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_transforms() -> None:
    table = rows("transforms")
    left = {name for row in table if "left behind" in row[1] for name in names(row[0])}
    stopped = {name for row in table if row[1].startswith("stops") for name in names(row[0])}
    assert left == {*mmdet_transforms.LEAVE_MASKS, *mmdet_transforms.LEAVE_IN_MMCV}
    assert stopped == set(mmdet_transforms.REFUSE_MASKS)
    told = {**mask_pipelines.LEAVE_MASKS, **mask_pipelines.REFUSE_MASKS}
    told |= {f"mmcv.{name}": use for name, use in mask_pipelines.LEAVE_MASKS_IN_MMCV.items()}
    for row in table:
        for name in names(row[0]):
            assert names(row[2]) == set(told[name])


def test_segmenters() -> None:
    table = {tuple(names(row[0])): row[1] for row in rows("segmenters")}
    run = {name for group, how in table.items() if how.startswith("runs") for name in group}
    untried = {name for group, how in table.items() if "not tried" in how for name in group}
    recipes = {name for group, how in table.items() if "another way" in how for name in group}
    rest = {name for group, how in table.items() for name in group} - run - untried - recipes
    assert run == set(mmdet_segmenters.CONFIGS) - set(mmdet_segmenters.PACKAGES)
    assert untried == set(mmdet_segmenters.PACKAGES)
    assert recipes == set(mmdet_segmenters.RECIPES)
    assert rest == set(mmdet_segmenters.WITHOUT_A_CASE)
    (portable,) = [group for group, how in table.items() if "portable operators only" in how]
    assert set(portable) == mmdet_segmenters.PORTABLE_ON_CPU
