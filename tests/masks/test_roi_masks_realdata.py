"""`RoIMasks` against mmdet's `BitmapMasks` on the real images, the densest of each cell type."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.structures.mask import BitmapMasks

from cellseg_mmdet.masks import RoIMasks, Runs
from tests.masks.roi_scenes import assert_same, stock

pytestmark = pytest.mark.realdata

HEIGHT, WIDTH = 520, 704
CELL_TYPES = ("shsy5y", "astro", "cort")
# BitmapMasks of all cells would take gigabytes and its time; more than 512 at once are too many for its OpenCV.
AT_ONCE, EVERY = 64, 3


@pytest.fixture(scope="module")
def densest(sartorius: Path) -> dict[str, RoIMasks]:
    """Masks of the image with most cells, for each cell type."""
    strings: dict[tuple[str, str], list[str]] = defaultdict(list)
    with (sartorius / "train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            strings[row["cell_type"], row["id"]].append(row["annotation"])
    found = {}
    for cell_type in CELL_TYPES:
        texts = max((texts for (of, _), texts in strings.items() if of == cell_type), key=len)
        runs = Runs.from_strings(texts, HEIGHT, WIDTH, order="row")
        found[cell_type] = RoIMasks.from_runs(runs)
    assert len(found["shsy5y"]) == 790
    return found


def some_at_a_time(masks: RoIMasks) -> Iterator[tuple[slice, BitmapMasks]]:
    for begin in range(0, len(masks), AT_ONCE * EVERY):
        part = slice(begin, begin + AT_ONCE * EVERY, EVERY)
        yield part, stock(masks[part].to_ndarray())


SIZE = (HEIGHT, WIDTH)
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("rescale", {"scale": (1333, 640)}),
    ("rescale", {"scale": (1333, 800)}),
    ("resize", {"out_shape": (333, 512)}),
    ("flip", {"flip_direction": "diagonal"}),
    ("crop", {"bbox": np.array([100, 50, 612, 562])}),
    ("pad", {"out_shape": (544, 704)}),
    ("expand", {"expanded_h": 900, "expanded_w": 1000, "top": 77, "left": 33}),
    ("translate", {"out_shape": SIZE, "offset": (13.4, -7.6), "direction": "both"}),
    ("shear", {"out_shape": SIZE, "magnitude": 0.2}),
    ("rotate", {"out_shape": SIZE, "angle": 33.0, "scale": 1.2}),
    ("rotate", {"out_shape": SIZE, "angle": -120.0, "interpolation": "nearest"}),
]


@pytest.mark.parametrize("cell_type", CELL_TYPES)
@pytest.mark.parametrize(("method", "arguments"), CALLS)
def test_each_method_is_that_of_mmdet(
    method: str, arguments: dict[str, Any], cell_type: str, densest: dict[str, RoIMasks]
) -> None:
    masks = densest[cell_type]
    found = getattr(masks, method)(**arguments)
    for part, theirs in some_at_a_time(masks):
        assert_same(found[part], getattr(theirs, method)(**arguments))


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_measures_and_codecs(cell_type: str, densest: dict[str, RoIMasks]) -> None:
    masks = densest[cell_type]
    areas, boxes = masks.areas, masks.get_bboxes("hbox").numpy()
    for part, theirs in some_at_a_time(masks):
        assert np.array_equal(areas[part], theirs.areas)
        assert np.array_equal(boxes[part], theirs.get_bboxes("hbox").numpy())
    assert RoIMasks.from_rle(masks.to_rle()) == masks


def test_targets_are_those_of_mmdet(densest: dict[str, RoIMasks]) -> None:
    masks = densest["shsy5y"].rescale((1333, 800))
    rng = np.random.default_rng(0)
    instance = rng.integers(0, len(masks), 128)
    boxes = (masks.boxes[instance] + rng.normal(0, 3, (128, 4))).astype(np.float32)
    ours = masks.crop_and_resize(boxes, (28, 28), instance).to_ndarray()
    differs = []
    for begin in range(0, len(instance), 16):
        part = slice(begin, begin + 16)
        theirs = stock(masks[instance[part]].to_ndarray())
        expected = theirs.crop_and_resize(boxes[part], (28, 28), np.arange(16)).to_ndarray()
        differs.append(ours[part] != expected)
    assert np.mean(differs) <= 1e-4
