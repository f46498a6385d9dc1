from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.annotations.cell_csv import read_cell_table
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs

# Rows 1 and 2 of a 2 x 4 image, and the cell of ids 1 and 2 in them.
LABEL_MAP = np.array([[1, 1, 0, 2], [1, 0, 0, 2]])
CELLS = Runs.from_label_map(LABEL_MAP)
SIZES_HW = {"a": (2, 4), "b.1": (2, 4)}

SARTORIUS = "id,predicted\na,1 2 5 1\na,4 1 8 1\nb.1,\n"
DSB2018 = "ImageId,EncodedPixels\na,1 3\na,7 2\nb.1,\n"
TRAIN = (
    "id,annotation,width,height,cell_type,sample_id\n"
    "a,1 2 5 1,4,2,cort,\n"
    "a,4 1 8 1,4.0,2.0,cort,\n"
    "b.1,,4,2,astro,\n"
)


def table(folder: Path, text: str) -> Path:
    path = folder / "cells.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [SARTORIUS, DSB2018], ids=["sartorius", "dsb2018"])
def test_a_submission(tmp_path: Path, text: str) -> None:
    found = read_cell_table(table(tmp_path, text))
    assert not found.says_types
    assert found.sizes_hw == {}
    cells, none = found.to_records(SIZES_HW)
    assert (cells.file_name, none.file_name) == ("a.png", "b.1.png")
    assert cells.masks == CELLS
    assert cells.categories == ("cell", "cell")
    assert cells.cell_type is None
    assert none.masks == Runs.empty(2, 4)


def test_a_train_csv_says_sizes_and_types(tmp_path: Path) -> None:
    found = read_cell_table(table(tmp_path, TRAIN))
    assert found.says_types
    assert found.sizes_hw == SIZES_HW
    cells, none = found.to_records({})
    assert cells.masks == CELLS
    assert (cells.categories, cells.cell_type) == (("cort", "cort"), "cort")
    assert (none.categories, none.cell_type) == ((), "astro")


def test_what_editors_leave_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_bytes(b"\xef\xbb\xbf" + SARTORIUS.replace("\n", "\r\n").encode() + b"\r\n")
    assert read_cell_table(path).to_records(SIZES_HW)[0].masks == CELLS


def test_a_long_mask(tmp_path: Path) -> None:
    pairs = " ".join(f"{start} 1" for start in range(1, 60_001, 2))
    assert len(pairs) > 2**17  # what csv allows by default
    path = table(tmp_path, f"id,predicted\na,{pairs}\n")
    assert read_cell_table(path).to_records({"a": (1, 60_000)})[0].masks.areas.tolist() == [30_000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cells.csv is empty"),
        ("id,predicted\n", "cells.csv has a header and no row"),
        (SARTORIUS[:-1], "cells.csv is cut off: its last line does not end with a line break"),
        ("id,mask\na,1 2\n", "the header is 'id,mask'; .* 'ImageId,EncodedPixels', 'id,predicted'"),
        ("id,predicted\na,1 2\nb\n", "row 3: 1 column; the header has 2, id,predicted"),
        ("id,predicted\n,1 2\n", "row 2: the id is empty"),
        ('id,predicted\na,"1 2\n', "row 2: not readable as csv"),
        (TRAIN.replace("2.0", "3"), r"row 3: image 'a' is of height and width \(3, 4\) here, .* row 2"),
        (TRAIN.replace("2.0", "2.5"), "row 3: height '2.5' and width '4.0'; they must be pixels"),
        (TRAIN.replace("2.0", "nan"), "row 3: height 'nan' and width '4.0'; they must be pixels"),
    ],
    ids=[
        "empty", "no row", "cut off", "header", "columns", "id", "quote", "sizes", "size", "no size",
    ],
)  # fmt: skip
def test_faults_of_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_cell_table(table(tmp_path, text))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_bytes(b"id,predicted\n\xff\n")
    with pytest.raises(
        DataError, match=r"cells\.csv, row 2: byte 1 of the line, 0xff, is not UTF-8"
    ):
        read_cell_table(path)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("7 3", r"row 4: pair 1 \(7 3\): ends at pixel 9, past the end.*image of 2 x 4 pixels"),
        ("7", r"row 4: odd count of numbers \(1\)"),
    ],
    ids=["another size", "cut"],
)
def test_a_malformed_mask_names_its_row(tmp_path: Path, mask: str, message: str) -> None:
    found = read_cell_table(table(tmp_path, f"id,predicted\na,1 1\nb,1 1\na,{mask}\n"))
    with pytest.raises(DataError, match=message):
        found.to_records({"a": (2, 4), "b": (2, 4)})


def test_an_image_of_unknown_size(tmp_path: Path) -> None:
    found = read_cell_table(table(tmp_path, SARTORIUS))
    with pytest.raises(DataError, match=r"row 2: image 'a': its height and width are not known"):
        found.to_records({})
    with pytest.raises(DataError, match=r"row 4: image 'b\.1' is none of the 1 images to compare"):
        found.to_records({"a": (2, 4)})
