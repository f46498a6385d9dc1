"""Real cells against scikit-image, and many cells against the clock."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops

from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.images import open_image, read_image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import measure_image
from cellseg_mmdet.structures import ImagePrediction, from_records
from tests.measure.cells import disc

SAME = {
    "area_px": "area",
    "perimeter_px": "perimeter",
    "perimeter_crofton_px": "perimeter_crofton",
    "equivalent_diameter_px": "equivalent_diameter_area",
    "major_axis_px": "axis_major_length",
    "minor_axis_px": "axis_minor_length",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "extent": "extent",
    "mean_gray": "intensity_mean",
    "median_gray": "intensity_median",
    "std_gray": "intensity_std",
}


@pytest.mark.slow
@pytest.mark.realdata
def test_real_cells_are_measured_as_scikit_image_does(sartorius: Path) -> None:
    """Three images, one of each cell type; cells overlap, and so each is given to scikit-image alone."""
    records = read_sartorius(sartorius / "train.csv", sartorius / "train").records
    of_type = {record.cell_type: record for record in records}
    assert len(of_type) == 3
    for record in of_type.values():
        (found,) = from_records([record])
        with open_image(sartorius / "train" / record.file_name) as source:
            table = measure_image(found, None, source)
            pixels = source.read().pixels[..., 0].astype(np.float64)
        assert len(table) == len(record.masks)
        for index in range(0, len(record.masks), 4):
            (region,) = regionprops(record.masks[[index]].to_label_map(), pixels)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for ours, theirs in SAME.items():
                    expected = getattr(region, theirs)
                    assert table[ours][index] == pytest.approx(expected, rel=1e-6, abs=1e-6), ours


@pytest.mark.slow
def test_ten_thousand_cells_take_less_than_two_seconds_of_a_core() -> None:
    labels = np.zeros((100 * 22, 100 * 22), np.int32)
    tile = disc(9.5, 22)
    for index in range(10_000):
        y, x = (22 * place for place in divmod(index, 100))
        labels[y : y + 22, x : x + 22][tile] = index + 1
    masks = Runs.from_label_map(labels)
    count = len(masks)
    found = ImagePrediction(
        "a", None, *labels.shape, masks.boxes, np.ones(count), np.zeros(count, int), masks
    )
    picture = read_image(labels.astype(np.uint16), name="a")
    few = found.select(np.arange(20))
    measure_image(few, ("cell",), picture)  # kernels are compiled once
    begin = time.process_time()
    table = measure_image(found, ("cell",), picture)
    assert time.process_time() - begin < 2
    assert len(table) == 10_000
    np.testing.assert_array_equal(table["mean_gray"], np.arange(1, 10_001))
