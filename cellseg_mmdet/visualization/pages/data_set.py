"""A page on a data set: what its images and annotations look like, how they are distributed, and what is odd."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from cellseg_mmdet import __version__
from cellseg_mmdet.converters.findings import Finding, write_findings
from cellseg_mmdet.converters.oddities import KINDS, Oddity, describe, find_oddities
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.visualization.charts.svg import (
    Axis,
    Chart,
    area_axis,
    area_bins,
    count_axis,
    series_of,
    whole_axis,
)
from cellseg_mmdet.visualization.draw.contours import draw_contours
from cellseg_mmdet.visualization.draw.contrast import clahe, equalise
from cellseg_mmdet.visualization.draw.overlays import draw_instances
from cellseg_mmdet.visualization.draw.pictures import read_picture
from cellseg_mmdet.visualization.pages.html import (
    Section,
    bar,
    figure,
    figures,
    note,
    picture,
    strip,
    table,
    tiles,
    write_page,
)

PAGE_NAME, ODDITIES_NAME = "index.html", "oddities.csv"
_SHOWN_PER_KIND = 8
_PANEL_PX = 420
_STRIKING_SHARE = 0.1
_CROP_MARGIN_PX = 12
_ODD_BGR, _OTHERS_BGR = (66, 228, 240), (255, 190, 86)
_ABOUT_TRAINING = (
    "Some images as the pipeline of the config gives them to the model, augmented anew each time."
)


def write_data_set_page(
    out_dir: str | os.PathLike[str],
    records: Sequence[ImageRecord],
    image_dir: Path,
    *,
    source: str,
    training: str,
) -> Path:
    """Write the page, and a csv file with every oddity; return the page's path.

    Args:
        records: the annotated images.
        image_dir: folder that their file names are relative to.
        source: file that names the data.
        training: HTML that shows what training sees of them, such as of `samples.sample_gallery`.

    Raises:
        FileNotFoundError: if an image that is shown is missing.
        DataError: if there is no image, or one cannot be read.
    """
    if not records:
        raise DataError(f"{source} holds no image")
    path = Path(out_dir) / PAGE_NAME
    oddities = find_oddities(records)
    groups = _by_type(records)
    sections = [
        Section("types", "Cell types", _type_table(groups)),
        Section("examples", "Examples", _examples(groups, image_dir)),
        Section("training", "What training sees", note(_ABOUT_TRAINING) + training),
        Section("distributions", "Distributions", _distributions(groups)),
        Section("oddities", "Odd annotations", _oddity_section(oddities, records, image_dir)),
    ]
    num_cells = sum(len(record.masks) for record in records)
    write_page(
        path,
        title=f"The images and cells of {Path(source).name}",
        subtitle=source,
        lead=tiles(
            {
                "images": f"{len(records):,}",
                "cells": f"{num_cells:,}",
                "cell types": str(len(groups)),
                "strikingly odd cells": f"{len({(o.image, o.cell) for o in _striking(oddities)}):,}",
            }
        ),
        sections=sections,
        footer=f"Made by cellseg_mmdet {__version__}. Every odd annotation is listed in {ODDITIES_NAME}.",
    )
    write_findings(
        Path(out_dir) / ODDITIES_NAME,
        [
            Finding(
                f"{source}, cell {oddity.cell}",
                Path(records[oddity.image].file_name).stem,
                oddity.kind,
                oddity.detail,
            )
            for oddity in oddities
        ],
    )
    return path


def _by_type(records: Sequence[ImageRecord]) -> dict[str, list[ImageRecord]]:
    """Return the images by their cell type; where it is not known, by the class of most of their cells."""
    groups: dict[str, list[ImageRecord]] = {}
    for record in records:
        common = Counter(record.categories).most_common(1)
        name = record.cell_type or (common[0][0] if common else "no cells")
        groups.setdefault(name, []).append(record)
    return dict(sorted(groups.items()))


def _type_table(groups: dict[str, list[ImageRecord]]) -> str:
    num_images = sum(map(len, groups.values()))
    cells_of = {name: [len(r.masks) for r in members] for name, members in groups.items()}
    num_cells = max(1, sum(map(sum, cells_of.values())))
    rows = []
    for name, number in series_of(groups).items():
        counts, areas = cells_of[name], _areas(groups[name])
        low, middle, high = np.percentile(areas, (1, 50, 99)) if len(areas) else (0, 0, 0)
        share = sum(counts) / num_cells
        sizes = Counter(f"{r.height} x {r.width}" for r in groups[name]).most_common(1)[0][0]
        rows.append(
            [
                f'<span class="key s{number}"></span>{escape(name)}',
                f"{len(counts):,} ({len(counts) / num_images:.0%})",
                f"{sum(counts):,} ({share:.0%})",
                bar([(f"s{number}", share)]),
                f"{np.median(counts):.0f} ({min(counts)} to {max(counts)})",
                f"{middle:,.0f} ({low:,.0f} to {high:,.0f})",
                sizes,
            ]
        )
    header = [
        "",
        "images",
        "cells",
        "share of the cells",
        "cells per image",
        "area in pixels",
        "image size",
    ]
    caption = (
        "Cells per image: median and range. Area: median, and from the 1st to the 99th percentile. "
        "Image size: the most common."
    )
    return note(caption) + table(header, rows, text_columns=(3,))


def _examples(groups: dict[str, list[ImageRecord]], image_dir: Path) -> str:
    parts = [
        note("Of each cell type the image with the median number of cells, and that with most.")
    ]
    for name, members in groups.items():
        parts.append(f"<h3>{escape(name)}</h3>")
        # The image with the median number of cells, then the one with most of them: fixed, and telling.
        ordered = sorted(members, key=lambda record: (len(record.masks), record.file_name))
        chosen = sorted({len(ordered) // 2, len(ordered) - 1})
        parts += [_example(ordered[index], image_dir) for index in chosen]
    return "".join(parts)


def _example(record: ImageRecord, image_dir: Path) -> str:
    image, masks = read_picture(image_dir, record), record.masks
    equalised = clahe(image)
    panels = [
        ("image", image),
        ("coloured cells", draw_instances(image, masks, opacity=0.6, scale=1)),
        ("mask", (masks.to_label_map() > 0).astype(np.uint8) * 255),
        ("CLAHE, clip limit 3, 8 x 8 tiles", equalised),
        ("equalised", equalise(image)),
        ("contours on CLAHE", draw_contours(equalised, masks, scale=1)),
    ]
    title = f"{Path(record.file_name).name}, {len(masks)} cells"
    return strip(title, panels, max_side_px=_PANEL_PX)


def _distributions(groups: dict[str, list[ImageRecord]]) -> str:
    counts = {name: np.array([len(r.masks) for r in members]) for name, members in groups.items()}
    areas = {name: _areas(members) for name, members in groups.items()}
    most = max(int(values.max()) for values in counts.values())
    # Whole numbers: bins between two of them would be empty.
    count_edges = np.unique(np.expm1(np.linspace(0, np.log1p(max(most, 3)), 21)).round())
    area_edges = area_bins(np.concatenate(list(areas.values())))
    return figures(
        [
            _histograms(
                "Cells per image", "images", count_axis("cells", most), count_edges, counts
            ),
            _histograms(
                "Areas", "cells", area_axis("area in pixels", area_edges), area_edges, areas
            ),
        ]
    )


def _histograms(
    title: str, unit: str, axis: Axis, edges: np.ndarray, values: Mapping[str, np.ndarray]
) -> str:
    """Return the histograms of several groups of values in one chart."""
    heights = {name: np.histogram(numbers, edges)[0] for name, numbers in values.items()}
    highest = max(int(counted.max()) for counted in heights.values())
    chart = Chart(f"{title} by cell type", axis, whole_axis(unit, highest))
    for name, series in series_of(values).items():
        chart.histogram(edges, heights[name], series, kind="band")
        chart.histogram(edges, heights[name], series, name, kind="line")
    return figure(title, chart.render(), "By cell type; the axis across is logarithmic.")


def _oddity_section(
    oddities: Sequence[Oddity], records: Sequence[ImageRecord], image_dir: Path
) -> str:
    of_kind = {kind: [o for o in oddities if o.kind == kind] for kind in KINDS}
    rows = [
        [
            kind,
            escape(meaning),
            f"{len(of_kind[kind]):,}",
            f"{len({oddity.image for oddity in of_kind[kind]}):,}",
            f"{len(_striking(of_kind[kind])):,}",
        ]
        for kind, meaning in KINDS.items()
    ]
    header = ["", "what it means", "times", "images", "striking: a tenth of a cell or more"]
    parts = [
        table(header, rows, text_columns=(1,)),
        note(f"Below, the most striking ones of each kind; all are in {ODDITIES_NAME}."),
    ]
    for kind, found in of_kind.items():
        # An empty cell has no place to show.
        shown = sorted(found, key=lambda oddity: -oddity.share)[:_SHOWN_PER_KIND]
        if shown and kind != "empty":
            crops = "".join(_crop(oddity, records, image_dir) for oddity in shown)
            parts.append(f'<h3>{kind}</h3><div class="gallery">{crops}</div>')
        elif shown:
            listed = "".join(f"<li>{escape(describe(oddity, records))}</li>" for oddity in shown)
            parts.append(f"<h3>{kind}</h3><ul>{listed}</ul>")
    return "".join(parts)


def _striking(oddities: Sequence[Oddity]) -> list[Oddity]:
    return [oddity for oddity in oddities if oddity.share >= _STRIKING_SHARE]


def _crop(oddity: Oddity, records: Sequence[ImageRecord], image_dir: Path) -> str:
    """Return the surroundings of an odd cell, enlarged: the cell filled, all others as contours."""
    record = records[oddity.image]
    x1, y1, x2, y2 = record.masks.boxes[oddity.cell].tolist()
    window = (
        max(x1 - _CROP_MARGIN_PX, 0),
        max(y1 - _CROP_MARGIN_PX, 0),
        min(x2 + _CROP_MARGIN_PX, record.width),
        min(y2 + _CROP_MARGIN_PX, record.height),
    )
    image = read_picture(image_dir, record)[window[1] : window[3], window[0] : window[2]]
    # Drawn last: of equal pixels, as of a duplicate, the later cell is seen.
    order = np.append(np.delete(np.arange(len(record.masks)), oddity.cell), oddity.cell)
    masks = record.masks.cropped(*window)[order]
    is_odd = order == oddity.cell
    colors = np.where(is_odd[:, None], _ODD_BGR, _OTHERS_BGR).astype(np.uint8)
    scale = max(1, _PANEL_PX // max(image.shape[:2]))
    drawn = draw_instances(image, masks, colors=colors, filled=is_odd, scale=scale)
    text = describe(oddity, records)
    return f"<figure>{picture(drawn, text, max_side_px=_PANEL_PX)}<figcaption>{escape(text)}</figcaption></figure>"


def _areas(records: Sequence[ImageRecord]) -> np.ndarray:
    areas = np.concatenate([record.masks.areas for record in records])
    return areas[areas > 0]
