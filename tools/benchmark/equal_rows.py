"""Rows of the equal-budget table as numbers in docs/equal-budget/, and the chapter of docs/cpu-models.md made of them.

A row is told by model, seed, budget, threads, images and machine: rows of other days and machines add up.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from variants import row_name

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import atomic_write, load_json

DOCS = Path(__file__).parents[2] / "docs"
PAGE, FOLDER = DOCS / "cpu-models.md", DOCS / "equal-budget"
BEGIN, END = (
    "<!-- equal budget: begin (tools/benchmark/equal_report.py) -->",
    "<!-- equal budget: end -->",
)
_KEY = ("model", "seed", "budget_s", "threads", "images")
_OUTCOMES = ("hit", "missed", "merged", "split", "extra")
BOUNDS = ("as it is", "exact outlines", "none missed", "none extra", "none merged or split")
_CURVE = (
    "Checkpoints on the way, scored on the same images with the thresholds of the end. The learning rate falls to the "
    "end of the budget, so this is not what a smaller budget would give:"
)
_OUTCOME = "What became of the cells, by cell type and diameter, in shares of the annotated ones:"
_BOUND = "What bounds the score, and what it would be if one kind of error were none:"
Row = Mapping[str, Any]


def machine() -> str:
    """Return the processor of this machine, and how many cores may be used.

    Example:
        >>> machine().endswith("cores")
        True
    """
    text = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return f"{text or 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"


def key_of(row: Row) -> str:
    """Return what tells a row from others, as JSON."""
    known = {name: row["key"][name] for name in _KEY} | {"machine": row.get("machine", "")}
    known["model"] = row_name(known["model"])
    return json.dumps(known, sort_keys=True)


def merge(path: Path, rows: Iterable[Row]) -> list[Row]:
    """Add rows to a file, in place of those with the same key, and return all of it, sorted.

    Raises:
        DataError: the file is none of rows.
    """
    known = load_json(path)["rows"] if path.exists() else []
    try:
        by_key = {key_of(row): row for row in [*known, *rows]}
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: a row lacks {error}; allowed are rows of equal_report.py"
        ) from error
    merged = [by_key[key] for key in sorted(by_key)]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"rows": merged}, indent=1) + "\n", encoding="utf-8")
    return merged


def write_page(page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Write the chapter of all files of rows between the two marks of a page.

    Raises:
        DataError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"{page}: has no lines {BEGIN} and {END}, between which the rows are told")
    with atomic_write(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n\n{chapters(folder)}{END}{after}", encoding="utf-8")


def chapters(folder: Path = FOLDER) -> str:
    """Return the tables of all files of rows."""
    parts = [chapter(path.stem, load_json(path)["rows"]) for path in sorted(folder.glob("*.json"))]
    return "\n".join(parts) or "No rows are in this checkout yet.\n"


def chapter(data: str, rows: Sequence[Row]) -> str:
    """Return the tables of the rows of a data set."""
    lines = [f"### {data}", ""]
    setups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        key = row["key"]
        setups[
            row.get("machine", ""), key["budget_s"], key["threads"], tuple(key["images"])
        ].append(row)
    for (name, budget_s, threads, images), ones in sorted(setups.items()):
        lines += [
            f"{images[0]} images learned from, {images[1]} to choose thresholds, {images[2]} scored; "
            f"{budget_s / 60:g} core-minutes, {threads} thread{'s' * (threads != 1)}; {name or 'machine not noted'}:",
            "",
            *table(ones),
            "",
            *_part(_CURVE, curve_table(ones)),
            *_part(_OUTCOME, outcome_table(ones)),
            *_part(_BOUND, bounds_table(ones)),
        ]
    return "\n".join(lines)


def _part(headline: str, lines: list[str]) -> list[str]:
    return [headline, "", *lines, ""] if lines else []


def table(rows: Sequence[Row]) -> list[str]:
    """Return a line for each model, best first, with the spread of its seeds."""
    lines = [
        "| model | seeds | competition mAP (lowest - highest) | by type | core-minutes used | thresholds |",
        "|---|---|---|---|---|---|",
    ]
    for name, ones in _by_model(rows):
        scores = [row["score"] for row in ones]
        types = {
            kind: statistics.mean(row["by_type"][kind] for row in ones if kind in row["by_type"])
            for kind in ones[0]["by_type"]
        }
        told = ", ".join(f"{kind} {value:.3f}" for kind, value in types.items() if kind) or "-"
        used = " ".join(f"{row['cpu_s'] / 60:.1f}" + "*" * row["stopped"] for row in ones)
        thresholds = "; ".join(
            " ".join(f"{key}={value:g}" for key, value in row["thresholds"].items()) for row in ones
        )
        lines.append(
            f"| {name} | {len(ones)} | {statistics.mean(scores):.3f} ({min(scores):.3f} - {max(scores):.3f}) "
            f"| {told} | {used} | {thresholds} |"
        )
    if any(row["stopped"] for row in rows):
        lines += ["", "\\* stopped at the end of its budget, with its last weights"]
    return lines


def curve_table(rows: Sequence[Row]) -> list[str]:
    """Return the scores at tenths of the budget, the mean of the seeds; the last one is that of the table."""
    with_curve = [row for row in rows if row.get("curve")]
    if not with_curve:
        return []
    tenths = range(1, 11)
    lines = [
        "| share of the budget | " + " | ".join(f"{10 * one} %" for one in tenths) + " |",
        "|---|" + "---|" * len(tenths),
    ]
    for name, ones in _by_model(with_curve):
        cells = []
        for tenth in tenths:
            # The checkpoint next to it, if there is one within a twentieth.
            near = [
                min(
                    row["curve"],
                    key=lambda point: abs(point[0] / row["key"]["budget_s"] - tenth / 10),
                )
                for row in ones
            ]
            there = [
                point[1]
                for point, row in zip(near, ones, strict=True)
                if abs(point[0] / row["key"]["budget_s"] - tenth / 10) <= 0.05
            ]
            if tenth == 10:
                there = [row["score"] for row in ones]
            cells.append(f"{statistics.mean(there):.3f}" if there else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def outcome_table(rows: Sequence[Row]) -> list[str]:
    """Return what became of cells, in all seeds of a model together; extra ones are of the size that was found."""
    with_cells = [row for row in rows if row.get("cells")]
    if not with_cells:
        return []
    lines = [
        "| model | cells | annotated | found | missed | merged | split | extra |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, ones in _by_model(with_cells):
        groups: dict[tuple[str, str], dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(_OUTCOMES, 0)
        )
        for row in ones:
            for kind, sizes in row["cells"].items():
                for size, counts in sizes.items():
                    for place in ((kind, "all"), (kind, size)):
                        for outcome, number in counts.items():
                            groups[place][outcome] += number
        for (kind, size), counts in groups.items():
            true = sum(counts[outcome] for outcome in _OUTCOMES[:-1])
            shares = [
                f"{counts[outcome] / true:.0%}" if true else "-" for outcome in _OUTCOMES[:-1]
            ]
            extra = f"{counts['extra'] / true:.0%}" if true else f"{counts['extra']}"
            told = " ".join(part for part in (kind, "" if size == "all" else size) if part) or "all"
            lines.append(
                f"| {name} | {told} | {true / len(ones):,.0f} | {' | '.join(shares)} | {extra} |"
            )
    return lines


def bounds_table(rows: Sequence[Row]) -> list[str]:
    """Return the scores by type that a model would have without one kind of error, the mean of the seeds."""
    with_bounds = [row for row in rows if row.get("bounds")]
    if not with_bounds:
        return []
    lines = ["| model | images | " + " | ".join(BOUNDS) + " |", "|---|---|" + "---|" * len(BOUNDS)]
    for name, ones in _by_model(with_bounds):
        for kind in ones[0]["bounds"]:
            means = [
                statistics.mean(row["bounds"][kind][bound] for row in ones if kind in row["bounds"])
                for bound in BOUNDS
            ]
            lines.append(
                f"| {name} | {kind or 'all'} | " + " | ".join(f"{one:.3f}" for one in means) + " |"
            )
    return lines


def _by_model(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows of each model by seed, the model with the best mean score first."""
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["key"]["seed"]):
        by_model[row_name(row["key"]["model"])].append(row)
    return sorted(
        by_model.items(),
        key=lambda one: statistics.mean(row["score"] for row in one[1]),
        reverse=True,
    )
