"""A table of the cells of many images in one file, written image by image."""

from __future__ import annotations

import csv
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cellseg_mmdet.errors import UsageError, needs
from cellseg_mmdet.fileio import ESCAPED, atomic_write, staged
from cellseg_mmdet.measure.columns import KEYS, PLACES, sorted_columns
from cellseg_mmdet.measure.names import Names, scheme_of
from cellseg_mmdet.measure.table import Measurements

SUFFIXES = (".csv", ".parquet")
# Columns of whole numbers.
_WHOLE = ("id", "pieces", "holes", "neighbours", *(f"{place}_px" for place in PLACES))


def check_table_path(path: str | os.PathLike[str]) -> None:
    """Raise UsageError unless a table can be written under this name; for Parquet, pyarrow has to be installed.

    Example:
        >>> check_table_path("cells.xlsx")
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.UsageError: cells.xlsx: the name of a table ends with .csv or .parquet
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: the name of a table ends with {' or '.join(SUFFIXES)}")
    if suffix == ".parquet":
        _pyarrow()


class TableFile:
    """Writes the tables of images, one after the other, as csv or Parquet; whole or not at all.

    Images may have channels of their own, and only some a known pixel size: the file has the columns of all, and what
    an image does not have is empty, as is NaN in csv. Until it is closed, tables wait in a temporary file beside it; no
    more than one image is in memory. csv is UTF-8 with ten significant digits, Parquet holds the numbers as they are.

    Use it in a ``with`` statement, at whose end the file is there; after an error it is not.

    Args:
        path: file to write.
        names: a name in `NAMES`: what the columns are called.

    Raises:
        UsageError: another suffix, or pyarrow is not installed.
        ConfigError: there are no such names.

    Example:
        >>> from cellseg_mmdet import Runs
        >>> from cellseg_mmdet.measure import measure_image
        >>> from cellseg_mmdet.structures import ImageRecord, from_records
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> (found,) = from_records([ImageRecord("a.png", 1, 4, masks, ("cort", "cort"))])
        >>> with TableFile("cells.csv", names="cellprofiler") as file:
        ...     file.add(measure_image(found, ["cort"]))
        >>> Path("cells.csv").read_text().splitlines()[1][:18]
        'a,1,cort,1,2,0,4.5'
    """

    def __init__(self, path: str | os.PathLike[str], names: str = "cellseg") -> None:
        check_table_path(path)
        self.path = Path(path)
        self.num_cells = 0
        self._naming = scheme_of(names)
        self._columns: dict[str, None] = dict.fromkeys(KEYS)
        self._channels: dict[str, None] = {}
        self._groups: dict[str, None] = {}
        self._neighbour_px = Measurements.neighbour_px
        self._opened = ExitStack()
        waiting = self._opened.enter_context(staged(self.path.with_suffix(".cells")))
        self._waiting = self._opened.enter_context(waiting.open("w+b"))

    def add(self, table: Measurements) -> None:
        """Add the cells of an image.

        Raises:
            UsageError: two columns would have one name.
            OSError: the disk is full.
        """
        self._columns |= dict.fromkeys(table.columns)
        self._channels |= dict.fromkeys(table.channels)
        self._groups |= dict.fromkeys(table.groups)
        self._neighbour_px = table.neighbour_px
        self._called()
        self.num_cells += len(table)
        try:
            pickle.dump(table, self._waiting)
            self._waiting.flush()
        except OSError as error:  # a full disk: the stream does not say of which file
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """Put the file in its place."""
        try:
            names, called = self._called()
            groups, columns = list(self._groups), list(called)
            write = _write_csv if self.path.suffix.lower() == ".csv" else _write_parquet
            with atomic_write(self.path) as temporary:
                write(temporary, list(called.values()), columns, names, self._tables(), groups)
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave the file out."""
        self._opened.close()

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _called(self) -> tuple[Names, dict[str, str]]:
        """Return the names, and each column of the tables so far with what it is called."""
        channels, groups = list(self._channels), list(self._groups)
        columns = sorted_columns(self._columns, groups)
        names = self._naming(columns, channels, self._neighbour_px)
        called = {column: names.of(column, channels, groups) for column in columns}
        first: dict[str, str] = {}
        for column, name in called.items():
            if first.setdefault(name, column) != column:
                raise UsageError(
                    f"{self.path}: {first[name]} and {column} would both be the column {name}; "
                    "give the group another name"
                )
        return names, called

    def _tables(self) -> Iterator[Measurements]:
        self._waiting.seek(0)
        while True:
            try:
                yield pickle.load(self._waiting)
            except EOFError:
                return


def _write_csv(
    path: Path,
    called: Sequence[str],
    columns: Sequence[str],
    names: Names,
    tables: Iterator[Measurements],
    groups: Sequence[str],
) -> None:
    with path.open("w", encoding="utf-8", errors=ESCAPED, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(called)
        for table in tables:
            cells = [_texts(names.values(column, table), len(table)) for column in columns]
            writer.writerows(zip(*cells, strict=True))


def _texts(values: np.ndarray | None, count: int) -> Sequence[str]:
    if values is None:
        return [""] * count
    if values.dtype == np.bool_:
        return ["1" if value else "0" for value in values.tolist()]
    if values.dtype.kind == "f":
        return ["" if value != value else f"{value:.10g}" for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _write_parquet(
    path: Path,
    called: Sequence[str],
    columns: Sequence[str],
    names: Names,
    tables: Iterator[Measurements],
    groups: Sequence[str],
) -> None:
    arrow, parquet = _pyarrow()
    kinds = dict.fromkeys(("image", "class", *groups), arrow.string())
    kinds |= dict.fromkeys(_WHOLE, arrow.int64())
    kinds["touches_border"] = arrow.bool_()
    fields = [kinds.get(column, arrow.float64()) for column in columns]
    schema = arrow.schema(list(zip(called, fields, strict=True)))
    with parquet.ParquetWriter(path, schema) as writer:
        for table in tables:
            arrays = []
            for column, kind in zip(columns, fields, strict=True):
                values = names.values(column, table)
                arrays.append(
                    arrow.nulls(len(table), kind) if values is None else arrow.array(values, kind)
                )
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    with needs("parquet"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet
