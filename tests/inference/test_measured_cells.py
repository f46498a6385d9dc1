from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference.cells import Cells
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import MeasureOptions

LABEL_MAP = np.zeros((12, 20), int)
LABEL_MAP[1:5, 2:6] = 1
LABEL_MAP[7:10, 10:18] = 2
LABEL_MAP[8, 12] = 0
PICTURE = np.arange(240, dtype=np.uint16).reshape(12, 20)


def cells() -> Cells:
    masks = Runs.from_label_map(LABEL_MAP)
    return Cells(masks, np.array([0.9, 0.7]), np.array([0, 1]), ("astro", "cort"), "a")


@pytest.mark.parametrize(
    "image",
    [PICTURE, PICTURE[..., None], read_image(PICTURE, name="a")],
    ids=["gray", "1", "Image"],
)
def test_a_table_with_intensities(image: np.ndarray) -> None:
    table = cells().measure(image)
    for row in range(2):
        inside = PICTURE[row + 1 == LABEL_MAP]
        assert table["mean_gray"][row] == pytest.approx(inside.mean())
        assert table["integrated_gray"][row] == inside.sum()
    assert table["holes"].tolist() == [0, 1]
    assert table["class"].tolist() == ["astro", "cort"]
    assert table["image"].tolist() == ["a", "a"]


def test_rows_are_in_the_order_of_the_cells_as_in_the_label_map() -> None:
    turned = cells()[[1, 0]]
    table, painted = turned.measure(), turned.label_map()
    for row, number in enumerate(table["id"]):
        assert table["area_px"][row] == (painted == number).sum() == turned.areas_px[row]


def test_channels_of_arrays_are_named() -> None:
    assert cells().measure(np.dstack([PICTURE] * 3)).channels == ("red", "green", "blue")
    assert cells().measure(np.dstack([PICTURE] * 2)).channels == ("channel0", "channel1")


def test_micrometres_of_an_image_and_of_the_caller() -> None:
    image = replace(read_image(PICTURE, name="a"), pixel_size_um=(0.5, 0.5))
    assert cells().measure(image)["area_um2"].tolist() == [4, 5.75]
    options = MeasureOptions(pixel_size_um=(2.0, 2.0))
    assert cells().measure(options=options)["area_um2"].tolist() == [64, 92]


def test_a_dataframe() -> None:
    pandas = pytest.importorskip("pandas")
    frame = cells().to_dataframe(PICTURE)
    assert isinstance(frame, pandas.DataFrame)
    assert frame[["id", "area_px"]].to_numpy().tolist() == [[1, 16], [2, 23]]
    assert len(cells()[[]].to_dataframe(PICTURE)) == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            PICTURE[:, :10],
            r"a: the cells are of an image of 12 x 20 pixels; got an array of shape \(12, 10\)",
        ),
        (np.zeros((12, 20), "U3"), "give numbers"),
        (np.zeros((12, 20, 1, 1)), r"\(H, W\) or \(H, W, C\)"),
    ],
)
def test_what_is_no_image_of_the_cells(image: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cells().measure(image)


def test_crops_and_iteration() -> None:
    found = cells()
    for index, cell in enumerate(found):
        crop = found.crop(index, PICTURE)
        assert crop.box_xyxy.tolist() == cell.box_xyxy.tolist()
        assert crop.mask.sum() == cell.mask.areas[0]
        x1, y1, x2, y2 = crop.box_xyxy
        np.testing.assert_array_equal(crop.pixels, PICTURE[y1:y2, x1:x2])
        np.testing.assert_array_equal(crop.mask, LABEL_MAP[y1:y2, x1:x2] == index + 1)
    wide = found.crop(-1, np.dstack([PICTURE] * 2), margin_px=4)
    assert wide.box_xyxy.tolist() == [6, 3, 20, 12]
    assert wide.pixels is not None and wide.pixels.shape == (9, 14, 2)
    assert found.crop(0).pixels is None


def test_a_crop_of_no_cell_and_of_another_image() -> None:
    with pytest.raises(IndexError, match="cell 2: there are 2 cells"):
        cells().crop(2)
    with pytest.raises(DataError, match="12 x 20"):
        cells().crop(0, PICTURE[1:])
