from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from cellseg_mmdet.errors import ConfigError, DataError, UsageError
from cellseg_mmdet.images import Image, open_image, read_image
from cellseg_mmdet.inference.cells import Cells
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import (
    NAMES,
    Measurements,
    MeasureOptions,
    TableFile,
    measure_image,
)
from cellseg_mmdet.structures import ImagePrediction
from tests.measure.cells import disc

CLASSES = ("round", "long")


def prediction(
    label_map: np.ndarray, name: str = "a", scores: list[float] | None = None
) -> ImagePrediction:
    masks = Runs.from_label_map(label_map)
    given = np.linspace(0.9, 0.5, len(masks)) if scores is None else np.array(scores)
    labels = np.arange(len(masks)) % 2
    return ImagePrediction(
        name, None, *label_map.shape, masks.boxes.astype(float), given, labels, masks
    )


def discs() -> np.ndarray:
    label_map = np.zeros((40, 60), int)
    label_map[2:33, 3:34][disc(8, 31)] = 1
    label_map[5:36, 25:56][disc(11, 31)] = 2
    return label_map


def picture(
    size_hw: tuple[int, int] = (40, 60),
    channels: tuple[str, ...] = ("gray",),
    pixel_size_um: tuple[float, float] | None = None,
) -> Image:
    values = np.random.default_rng(0).integers(0, 60000, (*size_hw, len(channels)), dtype=np.uint16)
    key = read_image(np.zeros((1, 1), np.uint8), name="a").key
    return Image(values, key, channels, pixel_size_um)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_of_two_cells() -> None:
    table = measure_image(prediction(discs()), CLASSES, picture(channels=("DAPI", "GFP")))
    assert list(table.columns)[:6] == ["image", "id", "class", "score", "area_px", "perimeter_px"]
    assert table["class"].tolist() == ["round", "long"]
    assert table["id"].tolist() == [1, 2]
    assert table.channels == ("DAPI", "GFP")
    assert [name for name in table.columns if name.endswith("_GFP")][-1] == "contrast_GFP"
    assert not any("um" in name for name in table.columns if "num" not in name)


def test_cells_are_numbered_as_the_label_map_of_cells_numbers_them() -> None:
    cells = Cells.from_prediction(prediction(discs(), scores=[0.2, 0.8]), CLASSES)
    table = cells.measure()
    for row, cell in enumerate(cells):
        assert table["area_px"][row] == cell.mask.areas[0]
        assert table["score"][row] == cell.score
        assert table["class"][row] == cell.class_name
    painted = cells.label_map()
    assert table["area_px"][0] == (painted == table["id"][0]).sum()


def test_cells_without_a_pixel_are_left_out_and_overlapping_ones_are_whole() -> None:
    masks = Runs.concatenate(
        [
            Runs.from_label_map(np.array([[1, 1, 1, 0]])),
            Runs.empty(1, 4),
            Runs.from_pixels(np.zeros(0, int), np.zeros(0, int), 1, 1, 4),
            Runs.from_label_map(np.array([[0, 1, 1, 1]])),
        ]
    )
    scores, labels = np.array([0.5, 0.9, 0.6]), np.zeros(3, int)
    found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
    table = measure_image(found, ("cell",))
    assert table["id"].tolist() == [1, 3]
    assert table["score"].tolist() == [0.5, 0.6]
    assert table["area_px"].tolist() == [3, 3]
    assert table["nearest_px"].tolist() == [0, 0]


def test_no_cell_has_all_columns() -> None:
    empty = measure_image(prediction(np.zeros((40, 60), int)), CLASSES, picture())
    full = measure_image(prediction(discs()), CLASSES, picture())
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)


@settings(max_examples=25)
@given(st.floats(0.05, 3), st.floats(0.05, 3))
def test_micrometres_are_those_of_scikit_image(height_um: float, width_um: float) -> None:
    size = (height_um, width_um)
    table = measure_image(prediction(discs()), CLASSES, picture(pixel_size_um=size))
    for row, region in enumerate(regionprops(discs(), spacing=size)):
        assert table["area_um2"][row] == pytest.approx(region.area)
        assert table["major_axis_um"][row] == pytest.approx(region.axis_major_length)
        assert table["minor_axis_um"][row] == pytest.approx(region.axis_minor_length)
        assert table["eccentricity"][row] == pytest.approx(region.eccentricity, abs=1e-6)
        assert (table["centroid_y_um"][row], table["centroid_x_um"][row]) == pytest.approx(
            region.centroid
        )
        assert table["area_px"][row] == region.num_pixels


def test_square_pixels_scale_lengths() -> None:
    table = measure_image(prediction(discs()), CLASSES, picture(pixel_size_um=(0.5, 0.5)))
    for name in ("perimeter", "perimeter_crofton", "feret_max", "feret_min", "nearest"):
        np.testing.assert_allclose(table[f"{name}_um"], table[f"{name}_px"] / 2)
    np.testing.assert_allclose(table["area_um2"], table["area_px"] / 4)


def test_a_pixel_size_of_the_user_wins() -> None:
    options = MeasureOptions(pixel_size_um=(2.0, 2.0))
    table = measure_image(
        prediction(discs()), CLASSES, picture(pixel_size_um=(0.5, 0.5)), options=options
    )
    np.testing.assert_allclose(table["area_um2"], 4 * table["area_px"])


def test_an_opened_file_gives_what_the_whole_picture_gives(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", picture().pixels[..., 0])
    whole = measure_image(prediction(discs()), CLASSES, picture())
    with open_image(tmp_path / "a.tif") as source:
        opened = measure_image(prediction(discs()), CLASSES, source)
    for name in whole.columns:
        np.testing.assert_array_equal(whole[name], opened[name], err_msg=name)


def test_a_picture_of_another_size_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"a: the cells are of an image of 40 x 60 pixels, .* 40 x 61"
    ):
        measure_image(prediction(discs()), CLASSES, picture((40, 61)))


def test_a_label_of_no_class_is_an_error() -> None:
    with pytest.raises(DataError, match="a: a cell of label 1, but there are the 1 classes round"):
        measure_image(prediction(discs()), ("round",))
    assert measure_image(prediction(discs()), None)["class"].tolist() == ["0", "1"]


def tables(**of_second: object) -> list[Measurements]:
    return [
        measure_image(prediction(discs()), CLASSES, picture(), groups={"plate": "p1"}),
        measure_image(
            prediction(discs(), "b"),
            CLASSES,
            picture(channels=("DAPI",), pixel_size_um=(0.5, 0.5)),
            groups={"plate": "p2"},
        ),
        measure_image(prediction(np.zeros((40, 60), int), "c"), CLASSES, groups={"plate": "p2"}),
    ]


def written(path: Path, names: str = "cellseg") -> Path:
    with TableFile(path, names) as file:
        for table in tables():
            file.add(table)
    return path


def test_a_csv_has_the_columns_of_all_images(tmp_path: Path) -> None:
    rows = read_csv(written(tmp_path / "cells.csv"))
    assert [(row["image"], row["id"], row["plate"]) for row in rows] == [
        ("a", "1", "p1"), ("a", "2", "p1"), ("b", "1", "p2"), ("b", "2", "p2"),
    ]  # fmt: skip
    assert list(rows[0])[:5] == ["image", "plate", "id", "class", "score"]
    assert rows[0]["area_um2"] == rows[0]["mean_DAPI"] == rows[2]["mean_gray"] == ""
    assert float(rows[2]["area_um2"]) == float(rows[2]["area_px"]) / 4
    assert rows[0]["touches_border"] == "0"
    assert rows[0]["orientation_rad"] == ""  # of a disc
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(written(tmp_path / "cells.parquet"))
    rows = read_csv(written(tmp_path / "cells.csv"))
    assert table.column_names == list(rows[0])
    for found, row in zip(table.to_pylist(), rows, strict=True):
        for name, text in row.items():
            value = found[name]
            if text == "":
                assert value is None or math.isnan(value)
            elif isinstance(value, str):
                assert value == text
            else:
                assert float(text) == pytest.approx(float(value), rel=1e-9)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_nothing_has_a_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells{suffix}"
    if suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    TableFile(path).close()
    if suffix == ".csv":
        assert path.read_text() == "image,id,class,score\n"
    else:
        assert parquet.read_table(path).column_names == ["image", "id", "class", "score"]


def test_after_an_error_the_file_of_before_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "cells.csv")
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), TableFile(path) as file:  # noqa: PT012
        file.add(tables()[0])
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]


def test_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"cells.xlsx: the name of a table ends with .csv or .parquet"
    ):
        TableFile(tmp_path / "cells.xlsx")
    with pytest.raises(
        ConfigError, match="'excel'; there are cellprofiler, cellseg, imagej, qupath"
    ):
        TableFile(tmp_path / "cells.csv", names="excel")


def test_a_dataframe_has_the_columns_and_their_kinds() -> None:
    pytest.importorskip("pandas")
    table = measure_image(prediction(discs()), CLASSES, picture())
    frame = table.to_dataframe()
    assert list(frame.columns) == list(table.columns)
    assert frame["touches_border"].dtype == bool
    assert frame["id"].dtype == frame["holes"].dtype == np.int64
    assert frame.groupby("class")["area_px"].median()["long"] == table["area_px"][1]


# ---------------------------------------------------------------- names of others


@pytest.mark.parametrize("names", NAMES.names())
def test_no_two_columns_are_called_the_same(tmp_path: Path, names: str) -> None:
    with written(tmp_path / "cells.csv", names).open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert len(header) == len(set(header)) == len(read_csv(written(tmp_path / "ours.csv"))[0])


def test_cellprofiler(tmp_path: Path) -> None:
    rows = read_csv(written(tmp_path / "cells.csv", "cellprofiler"))
    assert {"ObjectNumber", "AreaShape_Area", "AreaShape_FormFactor", "Metadata_plate"} <= set(
        rows[0]
    )
    assert float(rows[0]["Intensity_MeanIntensity_gray"]) > 0
    assert rows[0]["Intensity_MeanIntensity_DAPI"] == ""


def test_qupath_counts_from_the_corner_of_the_first_pixel(tmp_path: Path) -> None:
    rows = read_csv(written(tmp_path / "cells.csv", "qupath"))
    plain = read_csv(written(tmp_path / "ours.csv"))
    assert float(rows[2]["Centroid X px"]) == float(plain[2]["centroid_x_px"]) + 0.5
    assert float(rows[2]["Centroid X \u00b5m"]) == float(plain[2]["centroid_x_um"]) + 0.25
    assert rows[0]["Centroid X \u00b5m"] == ""
    assert rows[2]["DAPI: Mean"] == plain[2]["mean_DAPI"]


def test_imagej_has_one_unit_and_angles_from_the_x_axis(tmp_path: Path) -> None:
    label_map = np.zeros((20, 20), int)
    steps = np.arange(6)
    label_map[1 + steps, 1] = 1
    label_map[12, 3 + steps] = 2
    label_map[10 - steps, 10 + steps] = 3  # up to the right
    table = measure_image(prediction(label_map), CLASSES)
    with TableFile(tmp_path / "cells.csv", "imagej") as file:
        file.add(table)
    rows = read_csv(tmp_path / "cells.csv")
    assert [float(row["Angle"]) for row in rows] == pytest.approx([90, 0, 45])
    assert [row["Width"] for row in rows] == ["1", "6", "6"]
    assert {"Area", "X", "Perim.", "Feret", "MinFeret"} <= set(rows[0])
    calibrated = read_csv(written(tmp_path / "um.csv", "imagej"))
    assert calibrated[0]["Area"] == "" and float(calibrated[2]["Area"]) > 0
    assert "area_px" in calibrated[0]


def test_a_full_disk_is_told_with_the_name_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cellseg_mmdet.measure.table_file.pickle.dump", full)
    with (
        pytest.raises(OSError, match="No space left") as raised,
        TableFile(tmp_path / "cells.csv") as file,
    ):
        file.add(measure_image(prediction(discs()), CLASSES))
    assert raised.value.filename == str(tmp_path / "cells.csv")
    assert not list(tmp_path.iterdir())
