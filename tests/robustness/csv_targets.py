from __future__ import annotations

from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations.cell_csv import read_cell_table
from cellseg_mmdet.annotations.csv_rows import RowFault, read_table
from cellseg_mmdet.errors import MAX_MESSAGE
from tests.robustness.fuzzing import mutated, target

GARBAGE = [
    '"',
    '""',
    '"a',
    'a"',
    '","',
    ",",
    ",,",
    "\"'",
    "\\",
    "\0",
    "\ufeff",
    "\xa0",
    "é",
    '"1 2" 3',
]


@target
def csv_lines(rng: np.random.Generator, folder: Path) -> None:
    """Garbage within lines: every line that was left alone is a row, with its number."""
    num_columns = int(rng.integers(2, 6))
    header = ",".join(["id", *(f"c{index}" for index in range(num_columns - 1))])
    lines = []
    for number in range(int(rng.integers(1, 60))):
        values = [f"v{number}", *("1 2 30 4"[: rng.integers(9)] for _ in range(num_columns - 1))]
        lines.append(",".join(values))
    damaged = set(rng.integers(0, len(lines), rng.integers(1, 5)).tolist())
    expected = {number + 2: line for number, line in enumerate(lines) if number not in damaged}
    for number in damaged:
        at = int(rng.integers(0, len(lines[number]) + 1))
        garbage = GARBAGE[rng.integers(len(GARBAGE))]
        lines[number] = lines[number][:at] + garbage + lines[number][at:]
    ending = str(rng.choice(["\n", "\r\n", "\r"]))
    path = folder / "a.csv"
    text = ending.join([header, *lines, ""])
    path.write_bytes(text.encode("latin-1" if rng.random() < 0.2 and text.isascii() else "utf-8"))
    faults: list[RowFault] = []
    found = {row.number: ",".join(row.fields) for row in read_table(path).rows("id", faults.append)}
    for number, line in expected.items():
        assert found.get(number) == line, (
            f"row {number}, {line!r}, was read as {found.get(number)!r}"
        )
    assert all(len(fault.cause) <= MAX_MESSAGE for fault in faults)
    seen = found.keys() | {fault.row for fault in faults}
    told = found | {fault.row: fault.content for fault in faults}
    assert seen >= {number + 2 for number in damaged} - _inside(told)


@target
def csv_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged tables of cells."""
    rows = "".join(
        f"a{number % 5},{number * 20 + 1} 3 {number * 20 + 9} 2\n" for number in range(30)
    )
    path = folder / "a.csv"
    path.write_bytes(mutated(rng, f"id,predicted\n{rows}".encode()))
    table = read_cell_table(path)
    table.to_records(dict.fromkeys(table.images, (30, 30)))


def _inside(found: dict[int, str]) -> set[int]:
    """Return the lines that stand in a quoted value of a row, or of a fault, that begins before them."""
    return {
        number + more
        for number, line in found.items()
        for more in range(1, 1 + len(line.splitlines()))
    }
