"""`tools/models/sizes.py`: rules for the size of cells, compared on what was looked at once."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from cellseg_mmdet.inference.size_estimate import RULES
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from tests.inference.test_size_estimate import TRAINED_PX, OfOneSize, discs
from tools.models.sizes import ZOOMS, _kept, _restored, looked_at, ruled, spread, table


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("discs")
    records = []
    for diameter in (100, 12, 25):
        picture = discs(diameter, 320)
        assert cv2.imwrite(str(folder / f"{diameter}.png"), picture)
        masks = Runs.from_label_map(cv2.connectedComponents((picture > 100).astype(np.uint8))[1])
        records.append(ImageRecord(f"{diameter}.png", 320, 320, masks, ("cell",) * len(masks)))
    chosen = spread(records, 3)
    assert [record.file_name for record in chosen] == ["12.png", "25.png", "100.png"]
    return list(looked_at(OfOneSize(), chosen, folder))


def test_a_rule_costs_what_it_looks_at(images) -> None:
    small, usual, large = images
    assert ruled(usual, TRAINED_PX, RULES) == (usual.looks[1.0][2], 1.0)
    score, cost = ruled(large, TRAINED_PX, RULES)
    assert score > large.looks[1.0][2] and 4 < cost < 6  # it was enlarged first
    assert ruled(small, TRAINED_PX, RULES)[1] > 4
    # Twice as large, the one with small cells is one of the trained size.
    assert ruled(small, TRAINED_PX, RULES, 2.0) == (small.looks[2.0][2], 1.0)


def test_the_table_knows_how_good_it_could_be(images) -> None:
    rows = table(images, TRAINED_PX)
    best = rows["the best scale, which nobody knows"][0][0]
    assert rows["as they are"][0][0] < rows["in use"][0][0] <= best
    assert max(row[0][0] for row in rows.values()) == best
    assert {len(row) for row in rows.values()} == {len(ZOOMS)}


def test_looks_are_kept_in_a_file(images) -> None:
    entries = json.loads(json.dumps([_kept(one) for one in images]))
    assert [_restored(entry) for entry in entries] == images
