from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cellseg_mmdet.annotations.csv_rows import RowFault, parse_csv, parse_size_hw, read_table
from cellseg_mmdet.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


def test_rows_have_the_number_of_the_line_at_which_they_begin(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", '\ufeffid,mask\r\na,"1\n2"\n\nb,3\n'))
    assert table.header == ("id", "mask")
    assert [(row.number, row.values["mask"]) for row in table.rows("id")] == [(2, "1\n2"), (5, "3")]


def test_the_one_csv_of_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "id\nx\n")
    assert [row.values for row in read_table(tmp_path / "a.zip").rows("id")] == [{"id": "x"}]
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "id\nx\n")
        archive.writestr("b.csv", "id\nx\n")
    with pytest.raises(DataError, match="one csv in the archive"):
        read_table(tmp_path / "two.zip")


def test_a_mask_may_be_long(tmp_path: Path) -> None:
    mask = "1 1 " * 100_000
    (row,) = read_table(write(tmp_path / "a.csv", f"id,mask\na,{mask}\n")).rows("id")
    assert row.values["mask"] == mask


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("id,mask\n", "has a header and no row"),
        ("id\na\n", r"column\(s\) mask missing; the header is 'id'"),
        ('id,mask\na,"1\n', "row 2: not readable as csv"),
        ("id,mask\na,1", "cut off: its last line does not end"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.csv.*{message}"):
        list(
            read_table(write(tmp_path / "a.csv", text), ("id", "mask"), whole_lines=True).rows("id")
        )


def test_rows_that_cannot_be_used_are_an_error_or_handed_over(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "id,mask\na,1\nb\n ,2\nc,3\n"))
    faults: list[RowFault] = []
    assert [row.values["id"] for row in table.rows("id", faults.append)] == ["a", "c"]
    assert faults == [
        RowFault(3, "b", "1 column; the header has 2, id,mask", "b"),
        RowFault(4, "", "the id is empty", " ,2"),
    ]
    with pytest.raises(DataError, match=r"a\.csv, row 3: 1 column; the header has 2"):
        list(table.rows("id"))


def test_blank_lines_are_rows_without_values() -> None:
    rows = [(1, ["a", "b"], ""), (2, [], ""), (3, ["c", "d"], "")]
    assert list(parse_csv(["a,b\n", "\n", "c,d\n"])) == rows


@pytest.mark.parametrize(
    ("height", "width", "size_hw"),
    [
        ("520", "704", (520, 704)),
        ("520.0", "704.0", (520, 704)),
        ("", "1", None),
        ("0", "1", None),
        ("1.5", "1", None),
        ("nan", "1", None),
        ("inf", "1", None),
    ],
)
def test_sizes(height: str, width: str, size_hw: tuple[int, int] | None) -> None:
    assert parse_size_hw(height, width) == size_hw
