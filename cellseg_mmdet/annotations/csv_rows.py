"""Rows of csv files with their line numbers: the one parser of annotations, submissions and lists of classes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cellseg_mmdet.archives import list_files, read_file
from cellseg_mmdet.errors import DataError


class CsvError(DataError):
    """A row from which on a file cannot be read as csv.

    Attributes:
        row: line number at which it begins.
        cause: what is wrong.
    """

    def __init__(self, row: int, cause: str) -> None:
        super().__init__(f"row {row}: not readable as csv: {cause}")
        self.row = row
        self.cause = cause


class RowFault(NamedTuple):
    """A row that cannot be used.

    Attributes:
        row: line number at which it begins, as an editor shows it.
        key: its value in the column that must not be empty, '' where it has none.
        cause: what was found and what is allowed.
        content: the row.
    """

    row: int
    key: str
    cause: str
    content: str


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        number: line number at which it begins.
        values: by column.
        content: the row, values joined by commas.
    """

    number: int
    values: dict[str, str]
    content: str


@dataclass(frozen=True)
class CsvTable:
    """A csv file whose first row names the columns.

    Attributes:
        path: the file.
        header: names of the columns.
        lines: line number and values of each other row that is not blank; one at least.
    """

    path: str
    header: tuple[str, ...]
    lines: list[tuple[int, list[str]]]

    def rows(self, key: str, on_fault: Callable[[RowFault], None] | None = None) -> Iterator[Row]:
        """Yield the rows that have a value for each column, and one that is not empty for ``key``.

        Args:
            key: a column.
            on_fault: takes each other row; without it, the first one is an error.

        Raises:
            DataError: naming file and row.
        """
        key_at = self.header.index(key)
        for number, values in self.lines:
            content = ",".join(values)
            named = values[key_at].strip() if key_at < len(values) else ""
            if len(values) == len(self.header) and named:
                yield Row(number, dict(zip(self.header, values, strict=True)), content)
                continue
            cause = f"the {key} is empty"
            if len(values) != len(self.header):
                columns = f"{len(values)} column{'s' * (len(values) != 1)}"
                cause = f"{columns}; the header has {len(self.header)}, {','.join(self.header)}"
            if on_fault is None:
                raise DataError(f"{self.path}, row {number}: {cause}")
            on_fault(RowFault(number, named, cause, content))


def read_table(
    path: str | os.PathLike[str], required: Sequence[str] = (), *, whole_lines: bool = False
) -> CsvTable:
    """Read a csv file, or the one csv in a zip archive.

    Args:
        path: the file.
        required: columns that it must have.
        whole_lines: refuse a file whose last line does not end: a mask that lost its last digits may still be one.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is not readable as csv, not UTF-8, cut off, empty, has no row or lacks a column, or the
            archive is not one of one csv; the message names file, and row where there is one.
    """
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{path} is empty")
    if whole_lines and not text.endswith(("\n", "\r")):
        raise DataError(f"{path} is cut off: its last line does not end with a line break")
    try:
        lines = [row for row in parse_csv(io.StringIO(text, newline="")) if row[1]]
    except CsvError as error:
        raise DataError(f"{path}, {error}") from error
    (_, header), *rows = lines
    missing = [name for name in required if name not in header]
    if missing:
        raise DataError(
            f"{path}: column(s) {', '.join(missing)} missing; the header is {','.join(header)!r}"
        )
    if not rows:
        raise DataError(f"{path} has a header and no row")
    return CsvTable(str(path), tuple(header), rows)


def parse_csv(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield of each row the number of the line at which it begins, from 1, and its values; a blank line has none.

    Raises:
        CsvError: at a row that is not csv.
    """
    reader = csv.reader(lines, strict=True)
    number = 1
    # The mask of a large image may be longer than the 128 KiB that csv allows by default.
    usual_limit = csv.field_size_limit(2**31 - 1)
    try:
        for values in reader:
            yield number, values
            number = reader.line_num + 1
    except csv.Error as error:
        raise CsvError(number, str(error)) from error
    finally:
        csv.field_size_limit(usual_limit)


def parse_size_hw(height: str, width: str) -> tuple[int, int] | None:
    """Return height and width in pixels as a row has them; None if they are no integers from 1."""
    try:
        sides = float(height), float(width)  # pandas writes 520.0 where a column has empty cells
    except ValueError:
        return None
    if all(side >= 1 and side.is_integer() for side in sides):
        return int(sides[0]), int(sides[1])
    return None


def _read_text(path: str | os.PathLike[str]) -> str:
    if Path(path).suffix.lower() == ".zip":
        names = list_files(path)
        if len(names) != 1:
            raise DataError(f"{path}: expected one csv in the archive, found {names}")
        content = read_file(path, names[0])
    else:
        content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8, as a csv must be: {error}") from error
