"""What the cells of an image, and of a group of images, have in common: counts, densities, medians."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.measure.columns import KEYS, ORDER, names_of, sorted_columns
from cellseg_mmdet.measure.intensity import covered_pixels
from cellseg_mmdet.measure.table import Measurements, check_groups, class_names_of, filled_cells
from cellseg_mmdet.structures import ImagePrediction

# What medians are given of; places and counts of pieces have none that say anything.
MEASURES = (
    "area",
    "perimeter",
    "equivalent_diameter",
    "major_axis",
    "minor_axis",
    "eccentricity",
    "solidity",
    "extent",
    "circularity",
    "feret_max",
    "feret_min",
    "neighbours",
    "nearest",
)
CHANNEL_MEASURES = ("mean", "median", "integrated", "background", "contrast")
ALL = "all"
_COUNTS = (
    "cells",
    "image_area_px",
    "image_area_mm2",
    "cells_per_megapixel",
    "cells_per_mm2",
    "confluence",
)
_UM2_PER_MM2 = 1e6
_PX_PER_MEGAPIXEL = 1e6

Row = dict[str, str | float | int]


@dataclass(frozen=True, eq=False)
class ClassOfImage:
    """The cells of one class in one image, or of all classes.

    Attributes:
        image: name of the image.
        groups: column -> value, taken from the image's name.
        class_name: of the class, or `ALL`.
        image_px: pixels of the image.
        image_mm2: its area in square millimetres, NaN where the size of a pixel is not known.
        covered_px: pixels of the image that belong to one of the cells or several.
        values: column -> (N,) of the N cells.
    """

    image: str
    groups: Mapping[str, str]
    class_name: str
    image_px: int
    image_mm2: float
    covered_px: int
    values: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.values["area_px"])


class Summary:
    """Gathers the tables of images, and tells what their cells have in common.

    Of each cell the measures stay in memory that medians are given of, some 200 bytes.

    Args:
        classes: of which each gets rows of its own beside those of all cells; one class has none. One that is
            called 'all' is 'class all' there.

    Example:
        >>> from cellseg_mmdet import ImageRecord, Runs
        >>> from cellseg_mmdet.measure import measure_image
        >>> from cellseg_mmdet.structures import from_records
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> (found,) = from_records([ImageRecord("a.png", 1, 4, masks, ("cort", "cort"))])
        >>> summary = Summary(["cort"])
        >>> summary.add(found, measure_image(found, ["cort"]))
        >>> (row,) = summary.of_images()
        >>> row["image"], row["cells"], row["confluence"], row["median_area_px"]
        ('a', 2, 0.75, 1.5)
    """

    def __init__(self, classes: Sequence[str] = ()) -> None:
        # A class of that name would be counted among the rows of all classes.
        self.classes = tuple(f"class {ALL}" if name == ALL else name for name in classes)
        self.parts: list[ClassOfImage] = []

    def add(self, found: ImagePrediction, table: Measurements) -> None:
        """Add an image: its cells, and their table."""
        filled = filled_cells(found)
        masks = RoIMasks.from_runs(found.masks[filled])
        names = class_names_of(found, self.classes or None, filled)
        columns = _columns_of(table)
        check_groups(table.groups, [f"median_{column}" for column in columns])
        height, width = table.size_hw
        size = table.pixel_size_um
        mm2 = np.nan if size is None else height * width * size[0] * size[1] / _UM2_PER_MM2
        for name in (ALL, *(self.classes if len(self.classes) > 1 else ())):
            picked = np.flatnonzero(names == name) if name != ALL else np.arange(len(filled))
            self.parts.append(
                ClassOfImage(
                    table.image,
                    table.groups,
                    name,
                    height * width,
                    mm2,
                    covered_pixels(masks[picked]),
                    {column: table[column][picked] for column in columns},
                )
            )

    def of_images(self) -> list[Row]:
        """Return a row for each image and class: how many cells, how dense, how much they cover, medians."""
        columns = self._columns()
        return [
            {
                "image": part.image,
                **part.groups,
                "class": part.class_name,
                **_numbers([part], columns),
            }
            for part in self.parts
        ]

    def of_groups(self) -> list[Row]:
        """Return a row for each group of images and class; without groups all images are one.

        Densities and confluence are of all images together, and medians of all their cells.
        """
        columns = self._columns()
        rows: list[Row] = []
        for groups, name, members in self.grouped():
            counts = np.array([len(part) for part in members], dtype=np.float64)
            of_counts = {
                "images": len(members),
                "cells_per_image": float(counts.mean()),
                "cells_per_image_std": float(counts.std(ddof=1)) if len(counts) > 1 else np.nan,
            }
            rows.append({**groups, "class": name, **of_counts, **_numbers(members, columns)})
        return rows

    def grouped(self) -> list[tuple[dict[str, str], str, list[ClassOfImage]]]:
        """Return the images of each group and class, sorted by the group."""
        found: dict[tuple[tuple[tuple[str, str], ...], str], list[ClassOfImage]] = {}
        for part in self.parts:
            found.setdefault((tuple(part.groups.items()), part.class_name), []).append(part)
        order = {name: index for index, name in enumerate((ALL, *self.classes))}
        keys = sorted(found, key=lambda key: (key[0], order[key[1]]))
        return [(dict(groups), name, found[groups, name]) for groups, name in keys]

    def _columns(self) -> list[str]:
        return sorted_columns(dict.fromkeys(name for part in self.parts for name in part.values))


def reserved_names() -> set[str]:
    """Return the names of columns of tables and summaries, which no group of images can have.

    Example:
        >>> {"class", "area_px", "cells", "plate"} - reserved_names()
        {'plate'}
    """
    measures = {name for measure in ORDER for name in names_of(measure)}
    return {*KEYS, *measures, *_COUNTS, "images", "cells_per_image", "cells_per_image_std"}


def write_summary(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """Write rows as csv, whole or not at all; what a row does not have, and NaN, is empty."""
    rows = list(rows)
    columns = dict.fromkeys(name for row in rows for name in row)
    with (
        atomic_write(path) as temporary,
        Path(temporary).open("w", encoding="utf-8", errors=ESCAPED, newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(_text(row.get(name, "")) for name in columns)


def _columns_of(table: Measurements) -> list[str]:
    wanted = {name for measure in MEASURES for name in names_of(measure)}
    wanted |= {f"{measure}_{channel}" for measure in CHANNEL_MEASURES for channel in table.channels}
    return [name for name in table.columns if name in wanted]


def _numbers(parts: Sequence[ClassOfImage], columns: Sequence[str]) -> Row:
    cells = sum(len(part) for part in parts)
    pixels, mm2 = sum(part.image_px for part in parts), sum(part.image_mm2 for part in parts)
    counts = (
        cells,
        pixels,
        mm2,
        cells / pixels * _PX_PER_MEGAPIXEL,
        cells / mm2,
        sum(part.covered_px for part in parts) / pixels,
    )
    row: Row = dict(zip(_COUNTS, counts, strict=True))
    for column in columns:
        values = [part.values[column] for part in parts if column in part.values]
        joined = np.concatenate(values).astype(np.float64) if values else np.zeros(0)
        joined = joined[~np.isnan(joined)]
        row[f"median_{column}"] = float(np.median(joined)) if len(joined) else np.nan
    return row


def _text(value: str | float | int) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.10g}"
    return str(value)
