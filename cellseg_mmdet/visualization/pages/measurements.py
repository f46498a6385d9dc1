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
    NUM_SERIES,
    Axis,
    Chart,
    area_axis,
    area_bins,
    count_axis,
    linear_axis,
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
# Images of a chart with a mark for each.
_MAX_IMAGES = 1000

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
    whole = [part for _, name, members in _grouped(summary) if name == ALL for part in members]
    cells, pixels = sum(map(len, whole)), sum(part.image_px for part in whole)
    covered = sum(part.covered_px for part in whole)
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
        sections=measurement_sections(summary),
        footer=f"Made by cellseg_mmdet {__version__}. The page holds all it needs.",
    )
    return path


def measurement_sections(summary: Summary) -> list[Section]:
    """Return what a page tells of measured cells: their sizes, groups of images where there are any, and images.

    Example:
        >>> [section.name for section in measurement_sections(Summary(["cell"]))]
        ['sizes', 'images']
    """
    grouped = _grouped(summary)
    sections = [Section("sizes", "Sizes", _sizes(grouped))]
    if any(part.groups for part in summary.parts):
        sections.append(Section("groups", "Groups", _groups(grouped, summary.of_groups())))
    sections.append(Section("images", "Images", _images(grouped, summary.of_images())))
    return sections


def _grouped(summary: Summary) -> Grouped:
    return [
        (", ".join(groups.values()) or ALL, name, members)
        for groups, name, members in summary.grouped()
    ]


def _area_column(parts: Sequence[ClassOfImage]) -> tuple[str, str]:
    """Return the column of areas and its unit: micrometres only if all images can be, for a chart has one unit."""
    in_um = bool(parts) and all("area_um2" in part.values for part in parts)
    return ("area_um2", "\u00b5m\u00b2") if in_um else ("area_px", "pixels")


def _sizes(grouped: Grouped) -> str:
    classes = list(dict.fromkeys(name for _, name, _ in grouped))
    parts = [part for _, _, members in grouped for part in members]
    column, unit = _area_column(parts)
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
    body = note(
        "Dots are single images, bars the median of the images of a group; densities and medians in the table are of "
        "all images of a group together."
    )
    if len(of_all) <= _MAX_CHARTED:
        parts = [part for _, members in of_all for part in members]
        column, unit = _area_column(parts)
        medians = [_median(part.values[column]) for part in parts]
        edges = area_bins(np.array([one for one in medians if one == one]))
        most = max(map(len, parts), default=0)
        body += figures(
            [
                _by_group(
                    "Cells of each image",
                    "The axis of counts is logarithmic.",
                    of_all,
                    count_axis("cells of an image", most),
                    lambda part: float(len(part)),
                ),
                _by_group(
                    "Median area of each image",
                    "Images without cells have none. The axis is logarithmic.",
                    of_all,
                    area_axis(f"median area in {unit}", edges),
                    lambda part: _median(part.values[column]),
                ),
                _by_group(
                    "Confluence of each image",
                    "Share of the pixels that belong to a cell.",
                    of_all,
                    linear_axis("confluence", 0, max(map(_confluence, parts), default=0.0) * 1.05),
                    _confluence,
                ),
            ]
        )
    return body + _table(rows, "images", _group_of)


def _by_group(
    title: str,
    caption: str,
    groups: Sequence[tuple[str, Sequence[ClassOfImage]]],
    axis: Axis,
    value: Callable[[ClassOfImage], float],
) -> str:
    """Return a figure with a dot for each image above its group; NaN has none."""
    chart = Chart(
        f"{title}, by group: {axis.label}", named_axis("group", [name for name, _ in groups]), axis
    )
    for index, (_, members) in enumerate(groups):
        values = np.array([value(part) for part in members])
        there = np.flatnonzero(~np.isnan(values))
        if not len(there):
            continue
        # Side by side where images have the same number.
        spread = np.linspace(-0.18, 0.18, len(there)) if len(there) > 1 else np.zeros(1)
        titles = [f"{members[one].image}: {values[one]:,.4g}" for one in there.tolist()]
        chart.points(index + spread, values[there], 1, "an image" if index == 0 else "", titles)
        chart.line(
            [index - 0.3, index + 0.3],
            [float(np.median(values[there]))] * 2,
            0,
            "median of the group" if index == 0 else "",
        )
    return figure(title, chart.render(), caption)


def _images(grouped: Grouped, rows: Sequence[Row]) -> str:
    shown = [row for row in rows if row["class"] == ALL]
    of_all = [(group, members) for group, name, members in grouped if name == ALL]
    count = sum(len(members) for _, members in of_all)
    charts = figures(_by_image(of_all)) if 0 < count <= _MAX_IMAGES else ""
    return (
        f"{charts}<details><summary>{len(shown):,} images</summary>"
        + _table(shown, None, lambda row: str(row["image"]))
        + "</details>"
    )


def _by_image(groups: Sequence[tuple[str, Sequence[ClassOfImage]]]) -> list[str]:
    """Return the sizes and the numbers of the cells of each image, group after group."""
    parts = [part for _, members in groups for part in members]
    column, unit = _area_column(parts)
    names = [part.image for part in parts]
    axis = (
        named_axis("image", names)
        if len(parts) <= _MAX_CHARTED
        else linear_axis("image, in the order of the table", -0.5, len(parts) - 0.5)
    )
    middle = {
        index: np.percentile(part.values[column], (25, 50, 75))
        for index, part in enumerate(parts)
        if len(part)
    }
    edges = area_bins(np.array([area for areas in middle.values() for area in areas]))
    sizes = Chart(
        f"Areas of the cells of each image in {unit}: median and middle half",
        axis,
        area_axis(f"area in {unit}", edges),
    )
    counts = Chart(
        "Number of cells of each image",
        axis,
        count_axis("cells of an image", max(map(len, parts), default=0)),
    )
    # More groups have no colours of their own.
    is_told = 1 < len(groups) < NUM_SERIES
    series, place = series_of(group for group, _ in groups), 0
    for number, (group, members) in enumerate(groups):
        places = list(range(place, place + len(members)))
        place += len(members)
        color = series[group] if is_told else 1
        label = group if is_told else "" if number else "an image"
        for index in places:
            if index in middle:
                low, _, high = middle[index].tolist()
                sizes.line([index, index], [low, high], color, kind="line")
        filled = [index for index in places if index in middle]
        titles = [f"{names[one]}: median {middle[one][1]:,.4g} {unit}" for one in filled]
        sizes.points(filled, [middle[one][1] for one in filled], color, label, titles)
        numbers = [len(parts[index]) for index in places]
        titles = [f"{names[one]}: {len(parts[one])} cells" for one in places]
        counts.points(places, numbers, color, label, titles)
    return [
        figure(
            "Sizes, image by image",
            sizes.render(),
            "A dot is the median of an image, the line through it the middle half of its cells.",
        ),
        figure("Cells, image by image", counts.render(), "The axis of counts is logarithmic."),
    ]


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _confluence(part: ClassOfImage) -> float:
    return part.covered_px / part.image_px


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
