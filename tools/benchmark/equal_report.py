#!/usr/bin/env python
"""Add the rows of equal_budget.py to docs/equal-budget, and write the chapter of docs/cpu-models.md made of them.

DIR is the --out of equal_budget.py; nothing in it is changed, and it may still be at work. Of each row that is done,
what became of the cells and what bounds the score is found anew from the label maps. --overlays draws the three best
and the three worst images of each row into a folder: those of Sartorius and LIVECell may not be handed on. Without DIR
the page is written of the rows that are there.

    tools/benchmark/equal_report.py work_dirs/equal/sartorius --overlays work_dirs/equal/overlays
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from equal_analysis import bounds_by_type, found_cells, outcomes_by_type_and_size, write_overlays
from equal_rows import FOLDER, PAGE, machine, merge, write_page

from cellseg_mmdet.annotations import read_annotations
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dirs", nargs="*", type=Path, metavar="DIR")
    parser.add_argument(
        "--machine", default=machine(), help="of rows that do not say theirs (default: this one)"
    )
    parser.add_argument("--overlays", type=Path, metavar="FOLDER")
    parser.add_argument("--rows", type=Path, default=FOLDER, help="(default: docs/equal-budget)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/cpu-models.md)")
    args = parser.parse_args()
    for folder in args.dirs:
        data = data_of(folder)
        rows = [
            analysed(path.parent, folder, data, args.machine, args.overlays)
            for path in sorted(folder.glob("rows/*/row.json"))
        ]
        total = len(merge(args.rows / f"{data}.json", rows))
        print(f"{args.rows / data}.json: {len(rows)} rows of {folder}, {total} in all")
    write_page(args.page, args.rows)
    print(f"{args.page}: written")


def data_of(folder: Path) -> str:
    """Return the name of the data set of a folder of rows.

    Raises:
        UsageError: it is none.
    """
    found = sorted(path.name for path in folder.glob("data/*") if path.is_dir())
    if len(found) != 1:
        raise UsageError(
            f"{folder}: is no --out of equal_budget.py: data/ must hold one folder, found {found}"
        )
    return found[0]


def analysed(
    row: Path, folder: Path, data: str, its_machine: str, overlays: Path | None
) -> dict[str, Any]:
    """Return a row with what became of its cells, and what bounds its score."""
    content = json.loads((row / "row.json").read_text())
    records = read_annotations(folder / "data" / data / "annotations/val_fold0.json")
    found = found_cells(row, records)
    if overlays is not None:
        pictures = [str(folder / f"pictures/scored/{number}.npz") for number in range(len(records))]
        for path in write_overlays(overlays / data / row.name, records, found, pictures):
            print(path)
    rounded = {
        kind: {name: round(value, 4) for name, value in one.items()}
        for kind, one in bounds_by_type(records, found).items()
    }
    cells = outcomes_by_type_and_size(records, found)
    return {"machine": its_machine, **content, "cells": cells, "bounds": rounded}


if __name__ == "__main__":
    run_tool(main)
