"""Rows of csv files with their line numbers: the one parser of annotations, submissions and lists of classes.

Files are read line by line, so that their length costs no memory. A quote that is not closed costs the line that it
stands on: reading goes on at the next one.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cellseg_mmdet.archives import list_files, open_file
from cellseg_mmdet.errors import DataError, quoted, shortened
from cellseg_mmdet.fileio import fault_of_text

# The mask of a large image may be longer than the 128 KiB that csv allows by default; no mask is longer than this.
_MAX_LINE = 1 << 26
# A quoted field may hold line breaks, but no more of them.
_MAX_LINES_OF_ROW = 10_000
# Values that repeat from row to row are kept once; a mask is longer and never repeats.
_HEAD_BYTES = 16
_REPEATED_LENGTH, _MAX_REPEATED = 80, 1 << 16


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


class Row:
    """A row of a table: ``row["id"]`` is its value in a column.

    Attributes:
        number: line number at which it begins.
        fields: its values, in the order of the columns.
        columns: index of each column by its name; one for all rows.
    """

    __slots__ = ("columns", "fields", "number")

    def __init__(self, number: int, fields: tuple[str, ...], columns: Mapping[str, int]) -> None:
        self.number, self.fields, self.columns = number, fields, columns

    def __reduce__(self) -> tuple[type[Row], tuple[int, tuple[str, ...], Mapping[str, int]]]:
        return type(self), (self.number, self.fields, self.columns)

    def __getitem__(self, column: str) -> str:
        return self.fields[self.columns[column]]

    @property
    def content(self) -> str:
        """The row, values joined by commas."""
        return ",".join(self.fields)

    @property
    def values(self) -> dict[str, str]:
        """Its values by column."""
        return {column: self.fields[index] for column, index in self.columns.items()}


@dataclass(frozen=True)
class CsvTable:
    """A csv file whose first row names the columns, and which has one other row at least.

    Attributes:
        path: the file.
        header: names of the columns.
        whole_lines: whether the last line has to end with a line break.
    """

    path: str
    header: tuple[str, ...]
    whole_lines: bool = False

    @property
    def columns(self) -> dict[str, int]:
        """Index of each column by its name."""
        return {name: index for index, name in enumerate(self.header)}

    def rows(self, key: str, on_fault: Callable[[RowFault], None] | None = None) -> Iterator[Row]:
        """Yield the rows that have a value for each column, and one that is not empty for ``key``.

        Blank lines are left out. Equal values of different rows are one string.

        Args:
            key: a column.
            on_fault: takes each other row; without it, the first one is an error.

        Raises:
            DataError: naming file and row.
        """
        columns, num_columns = self.columns, len(self.header)
        key_at = columns[key]
        seen: dict[str, str] = {}
        with open_lines(self.path) as lines:
            rows = parse_csv(_whole(lines, self.path) if self.whole_lines else lines)
            next(rows)
            for number, values, fault in rows:
                if not values:
                    continue
                named = values[key_at].strip() if key_at < len(values) and not fault else ""
                if named and len(values) == num_columns:
                    if len(seen) > _MAX_REPEATED:
                        seen.clear()
                    fields = [
                        seen.setdefault(value, value) if len(value) < _REPEATED_LENGTH else value
                        for value in values
                    ]
                    yield Row(number, tuple(fields), columns)
                    continue
                cause = fault or f"the {key} is empty"
                if len(values) != num_columns and not fault:
                    found = f"{len(values)} column{'s' * (len(values) != 1)}"
                    cause = f"{found}; the header has {num_columns}, {shortened(','.join(self.header), 500)}"
                if on_fault is None:
                    raise DataError(f"{self.path}, row {number}: {cause}")
                on_fault(RowFault(number, named, cause, ",".join(values)))


def read_table(
    path: str | os.PathLike[str], required: Sequence[str] = (), *, whole_lines: bool = False
) -> CsvTable:
    """Open a csv file, or the one csv in a zip archive, and read its header; its rows are read when they are asked for.

    Args:
        path: the file.
        required: columns that it must have.
        whole_lines: refuse a file whose last line does not end: a mask that lost its last digits may still be one.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        DataError: if it is empty, has no row or lacks a column, its header is not UTF-8 or not readable as csv, or the
            archive is not one of one csv; the message names the file.
    """
    with open_lines(path) as lines:
        rows = ((values, fault) for _, values, fault in parse_csv(lines) if values)
        # White space alone is no header.
        filled = (row for row in rows if any(value.strip() for value in row[0]))
        header, fault = next(filled, ([], ""))
        if not header:
            raise DataError(f"{path} is empty")
        if fault:
            raise DataError(f"{path}, row 1: {fault}")
        missing = [name for name in required if name not in header]
        if missing:
            raise DataError(
                f"{path}: column(s) {', '.join(missing)} missing; the header is {quoted(','.join(header), 500)}"
            )
        if next(rows, None) is None:
            raise DataError(f"{path} has a header and no row")
    return CsvTable(str(path), tuple(header), whole_lines)


def parse_csv(lines: Iterable[str]) -> Iterator[tuple[int, list[str], str]]:
    """Yield of each row the number of the line at which it begins, from 1, its values, and what is wrong with it.

    A blank line has no values. The last is '' for a row that is fine. A row that is not csv, or not UTF-8, is one line
    long and stands there as one value; the next one begins on the next line. A quoted field may hold line breaks, but
    no line that would be a row by itself: there a quote was not closed.

    Args:
        lines: of a text whose bytes that are no UTF-8 were escaped, see `open_lines`.

    Example:
        >>> list(parse_csv(["a,b\\n", '"1,2\\n', "3,4\\n"]))[1:]  # doctest: +NORMALIZE_WHITESPACE
        [(2, ['"1,2'], 'not readable as csv: the quote at character 1 is not closed before the next row begins;
          a quote inside of a quoted field is written twice'), (3, ['3', '4'], '')]
    """
    source = _Lines(lines)
    number = num_columns = 0
    for line in source:
        number += 1
        begin, fault = number, ""
        if '"' not in line:
            text = line.rstrip("\r\n")
            values = text.split(",") if text else []
        else:
            values, num_more, fault = _quoted_row(line, source, num_columns)
            number += num_more
        if not line.isascii() and not fault:
            fault = undecodable(line)
            values = [line.rstrip("\r\n")] if fault else values
        num_columns = num_columns or len(values)
        yield begin, values, fault


def undecodable(line: str) -> str:
    """Return which byte of a line of `open_lines` is not UTF-8; '' if all are.

    Example:
        >>> undecodable("a\\udcff")
        'byte 2 of the line, 0xff, is not UTF-8'
    """
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        data = line.encode("utf-8", "surrogateescape")
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            at = error.start
            return f"byte {at + 1} of the line, {data[at]:#04x}, is not UTF-8"
        return "a character of the line is half of a pair, and not UTF-8"
    return ""


@contextmanager
def open_lines(path: str | os.PathLike[str], *, keep_mark: bool = False) -> Iterator[Iterator[str]]:
    """Open a text file, or the one file in a zip archive, and give its lines with their ends; none if it is empty.

    Bytes that are no UTF-8 are escaped as Python's ``surrogateescape`` does.

    Args:
        path: the file.
        keep_mark: give a byte order mark as the first character.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        DataError: if it is UTF-16, a line is absurdly long, or an archive is damaged or not one of one file.
    """
    if Path(path).suffix.lower() == ".zip":
        names = list_files(path)
        if len(names) != 1:
            raise DataError(f"{path}: expected one csv in the archive, found {quoted(names, 500)}")
        opened = open_file(path, names[0])
    else:
        opened = Path(path).open("rb")  # noqa: SIM115  # closed below
    with opened as content:
        fault = fault_of_text(content.peek(_HEAD_BYTES)[:_HEAD_BYTES])
        if fault:
            raise DataError(f"{path} is not UTF-8, as a csv must be: {fault}")
        encoding = "utf-8" if keep_mark else "utf-8-sig"
        text = io.TextIOWrapper(content, encoding, errors="surrogateescape", newline="")
        try:
            yield _bounded(text, path)
        finally:
            text.detach()


def parse_size_hw(height: str, width: str) -> tuple[int, int] | None:
    """Return height and width in pixels as a row has them; None if they are no integers from 1."""
    try:
        sides = float(height), float(width)  # pandas writes 520.0 where a column has empty cells
    except ValueError:
        return None
    if all(side >= 1 and side.is_integer() for side in sides):
        return int(sides[0]), int(sides[1])
    return None


class _Lines:
    """Lines of which some can be put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._back: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        return self._back.pop() if self._back else next(self._lines)

    def put_back(self, lines: Sequence[str]) -> None:
        self._back += reversed(lines)


def _quoted_row(line: str, source: _Lines, num_columns: int) -> tuple[list[str], int, str]:
    """Parse a row that begins with ``line`` and has quotes; return its values, its further lines and its fault."""
    taken: list[str] = []
    is_row = _row_by_itself(num_columns)

    def record() -> Iterator[str]:
        yield line
        while len(taken) < _MAX_LINES_OF_ROW:
            following = next(source, None)
            if following is None:
                return
            if is_row(following):
                source.put_back([following])
                return
            taken.append(following)
            yield following

    usual_limit = csv.field_size_limit(_MAX_LINE)
    try:
        values = next(csv.reader(record(), strict=True))
    except csv.Error as error:
        source.put_back(taken)
        return [line.rstrip("\r\n")], 0, f"not readable as csv: {_explained(line, str(error))}"
    finally:
        csv.field_size_limit(usual_limit)
    return values, len(taken), ""


def _row_by_itself(num_columns: int) -> Callable[[str], object]:
    if num_columns < 2:  # any line would be one
        return lambda line: None
    if num_columns not in _ROW_PATTERNS:
        value = r'(?:[^",\r\n]*+|"(?:[^"]|"")*+")'
        _ROW_PATTERNS[num_columns] = re.compile(f"{value}(?:,{value}){{{num_columns - 1}}}[\r\n]*")
    return _ROW_PATTERNS[num_columns].fullmatch


_ROW_PATTERNS: dict[int, re.Pattern[str]] = {}


def _explained(line: str, error: str) -> str:
    """Say which quote of a line is at fault."""
    # Complete fields, each with its comma; what is left begins with the field at fault.
    at = 0
    for match in re.finditer(r'(?:[^",][^,]*|"(?:[^"]|"")*"|),', line):
        if match.start() != at:
            break
        at = match.end()
    rest = line[at:]
    if re.match(r'"(?:[^"]|"")*"[^,\r\n]', rest):
        return (
            f"the field that begins at character {at + 1} goes on behind its closing quote; "
            "a quote inside of a quoted field is written twice"
        )
    if rest.startswith('"'):
        return (
            f"the quote at character {at + 1} is not closed before the next row begins; "
            "a quote inside of a quoted field is written twice"
        )
    return error


def _bounded(text: io.TextIOWrapper, path: str | os.PathLike[str]) -> Iterator[str]:
    number = 0
    while line := text.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE and not line.endswith(("\n", "\r")):
            raise DataError(
                f"{path}, row {number}: a line of more than {_MAX_LINE} characters is no row of a table"
            )
        yield line


def _whole(lines: Iterable[str], path: str) -> Iterator[str]:
    line = "\n"
    for line in lines:
        yield line
    if not line.endswith(("\n", "\r")):
        raise DataError(f"{path} is cut off: its last line does not end with a line break")
