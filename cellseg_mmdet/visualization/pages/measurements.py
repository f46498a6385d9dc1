"""The page on measured cells: how large they are, and how many there are in each image and group."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from cellseg_mmdet import __version__
from cellseg_mmdet.measure.summary import ALL, ClassOfImage, Row, Summary
from cellseg_mmdet.visualization.charts.svg import (
    Chart,
    area_axis,
    area_bins,
    count_axis,
    named_axis,
    series_of,
    whole_axis,
)
from cellseg_mmdet.visualization.pages.html import (
    Section,
    bar,
    figure,
    figures,
    note,
    table,
    tiles,
    write_page,
)

PAGE_NAME = "index.html"
# More groups have no room side by side; the table below has all of them.
_MAX_CHARTED = 12

Grouped = Sequence[tuple[str, str, Sequence[ClassOfImage]]]


def write_measurement_page(
    summary: Summary, out_dir: str | os.PathLike[str], *, source: str | os.PathLike[str]
) -> Path:
    """Write the page, with all that it shows in it, and return its path.

    Args:
        summary: of the images.
        out_dir: folder of the page.
        source: what was measured.

    Example:
        >>> write_measurement_page(Summary(["cell"]), "report", source="masks")
        PosixPath('report/index.html')
    """
    path = Path(out_dir) / PAGE_NAME
    grouped = [
        (", ".join(groups.values()) or ALL, name, members)
        for groups, name, members in summary.grouped()
    ]
    whole = [part for _, name, members in grouped if name == ALL for part in members]
    cells, pixels = sum(map(len, whole)), sum(part.image_px for part in whole)
    covered = sum(part.covered_px for part in whole)
    has_groups = any(part.groups for part in whole)
    sections = [Section("sizes", "Sizes", _sizes(grouped))]
    if has_groups:
        sections.append(Section("groups", "Groups", _groups(grouped, summary.of_groups())))
    sections.append(Section("images", "Images", _images(summary.of_images())))
    write_page(
        path,
        title=f"Cells of {Path(source).name}",
        subtitle=os.fspath(source),
        lead=tiles(
            {
                "images": f"{len(whole):,}",
                "cells": f"{cells:,}",
                "cells an image": f"{cells / len(whole):,.1f}" if whole else "-",
                "confluence": f"{covered / pixels:.1%}" if pixels else "-",
            }
        ),
        sections=sections,
        footer=f"Made by cellseg_mmdet {__version__}. The page holds all it needs.",
    )
    return path


def _sizes(grouped: Grouped) -> str:
    classes = list(dict.fromkeys(name for _, name, _ in grouped))
    parts = [part for _, _, members in grouped for part in members]
    # In micrometres only if all images can be: a bin has one unit.
    in_um = bool(parts) and all("area_um2" in part.values for part in parts)
    column, unit = ("area_um2", "\u00b5m\u00b2") if in_um else ("area_px", "pixels")
    areas = {
        name: np.concatenate(
            [part.values[column] for part in parts if part.class_name == name] or [np.zeros(0)]
        )
        for name in classes
    }
    drawn = []
    for name in [one for one in classes if one != ALL] or classes:
        edges = area_bins(areas[ALL])
        counts = np.histogram(areas[name], edges)[0]
        chart = Chart(
            f"Areas of cells of class {name}" if name != ALL else "Areas of all cells",
            area_axis(f"area in {unit}", edges),
            whole_axis("cells", int(counts.max(initial=0))),
        )
        series = series_of([one for one in classes if one != ALL]).get(name, 1)
        chart.histogram(edges, counts, series, f"{name} ({len(areas[name]):,})", kind="band")
        caption = "No cell of this class."
        if len(areas[name]):
            chart.mark_x(float(np.median(areas[name])), 0, "median")
            low, middle, high = np.percentile(areas[name], (25, 50, 75))
            caption = (
                f"Median {middle:,.4g} {unit}, the middle half from {low:,.4g} to {high:,.4g}."
            )
        drawn.append(figure(name, chart.render(), caption))
    return note("Areas of the cells of each class, in bins of equal ratio.") + figures(drawn)


def _groups(grouped: Grouped, rows: Sequence[Row]) -> str:
    of_all = [(group, members) for group, name, members in grouped if name == ALL]
    most = max((len(part) for _, members in of_all for part in members), default=0)
    body = note("Counts are of single images, densities and medians of all images of a group.")
    if len(of_all) <= _MAX_CHARTED:
        chart = Chart(
            "Number of cells of each image, by group",
            named_axis("group", [group for group, _ in of_all]),
            count_axis("cells of an image", most),
        )
        for index, (_, members) in enumerate(of_all):
            counts = np.array([len(part) for part in members])
            # Side by side where images have the same number.
            spread = np.linspace(-0.18, 0.18, len(counts)) if len(counts) > 1 else np.zeros(1)
            titles = [f"{part.image}: {len(part)} cells" for part in members]
            chart.points(index + spread, counts, 1, "an image" if index == 0 else "", titles)
            chart.line(
                [index - 0.3, index + 0.3],
                [float(np.median(counts))] * 2,
                0,
                "median of the group" if index == 0 else "",
            )
        body += figures(
            [figure("Cells of each image", chart.render(), "The axis of counts is logarithmic.")]
        )
    return body + _table(rows, "images", _group_of)


def _images(rows: Sequence[Row]) -> str:
    shown = [row for row in rows if row["class"] == ALL]
    return (
        f"<details><summary>{len(shown):,} images</summary>"
        + _table(shown, None, lambda row: str(row["image"]))
        + "</details>"
    )


def _group_of(row: Row) -> str:
    names = list(row)[: list(row).index("class")]
    return ", ".join(str(row[name]) for name in names) or ALL


def _table(rows: Sequence[Row], count: str | None, heading: Callable[[Row], str]) -> str:
    most = max((_as_number(row["cells"]) for row in rows), default=0.0)
    in_um = any("median_area_um2" in row for row in rows)
    area, unit = ("median_area_um2", "\u00b5m\u00b2") if in_um else ("median_area_px", "px")
    header = ["", "class", "", *([count] if count else []), "cells", "cells per mm\u00b2"]
    header += ["cells per megapixel", "confluence", f"median area, {unit}"]
    body = []
    for row in rows:
        cells = _as_number(row["cells"])
        body.append(
            [
                escape(heading(row)),
                escape(str(row["class"])),
                bar([("s1", cells / most if most else 0.0)]),
                *([f"{row[count]:,}"] if count else []),
                f"{cells:,.0f}",
                _shown(row["cells_per_mm2"], ",.0f"),
                _shown(row["cells_per_megapixel"], ",.0f"),
                _shown(row["confluence"], ".1%"),
                _shown(row.get(area, np.nan), ",.4g"),
            ]
        )
    return table(header, body, text_columns=(1, 2))


def _as_number(value: str | float | int) -> float:
    return float(value)


def _shown(value: str | float | int, layout: str) -> str:
    return "-" if _as_number(value) != _as_number(value) else format(_as_number(value), layout)
