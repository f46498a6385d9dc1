"""What columns are called: as here, or as CellProfiler, QuPath and ImageJ call what comes nearest.

A column that the other program does not have keeps its name. Values are converted where the other program's is the same
measure in another unit or from another origin; where it is measured otherwise, docs/measurements.md says how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cellseg_mmdet.measure.table import Measurements
from cellseg_mmdet.registry import Registry

# Values of a column of a table -> those of the other program.
Convert = Callable[[np.ndarray, Measurements], np.ndarray]


@dataclass(frozen=True)
class Names:
    """How another program calls columns.

    Attributes:
        columns: ours -> theirs.
        of_channels: measure -> theirs, with ``{channel}`` in it.
        converts: our column -> how its values become theirs.
        group: what a column that is taken from the name of the image becomes, with ``{group}`` in it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    of_channels: Mapping[str, str] = field(default_factory=dict)
    converts: Mapping[str, Convert] = field(default_factory=dict)
    group: str = "{group}"

    def of(self, column: str, channels: Sequence[str], groups: Sequence[str]) -> str:
        """Return the name of a column.

        Args:
            column: our name of it.
            channels: of the images.
            groups: columns that are taken from the names of the images.
        """
        if column in groups:
            return self.group.format(group=column)
        for measure, theirs in self.of_channels.items():
            channel = column.removeprefix(f"{measure}_")
            if channel != column and channel in channels:
                return theirs.format(channel=channel)
        return self.columns.get(column, column)

    def values(self, column: str, table: Measurements) -> np.ndarray | None:
        """Return the values of a column of a table, None where it does not have it."""
        if column not in table.columns:
            return None
        convert = self.converts.get(column)
        return table[column] if convert is None else convert(table[column], table)


# Our columns, the channels of all images of a file, and up to which distance cells are neighbours -> how columns are
# called.
Scheme = Callable[[Sequence[str], Sequence[str], float], Names]
NAMES: Registry[Names] = Registry("scheme of names")


def scheme_of(names: str) -> Scheme:
    """Return what tells how columns are called.

    Raises:
        ConfigError: there are no such names.
    """
    return NAMES.get(names)


def renamed(table: Measurements, names: str) -> dict[str, np.ndarray]:
    """Return the columns of a table under other names, for one image.

    Args:
        table: with our columns.
        names: a name in `NAMES`.

    Raises:
        ConfigError: there are no such names.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> from cellseg_mmdet.measure import measure_image
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
        >>> renamed(measure_image(found, ["cort"]), "qupath")["Centroid X px"]
        array([1. , 3.5])
    """
    columns = list(table.columns)
    scheme = scheme_of(names)(columns, table.channels, table.neighbour_px)
    found = {}
    for column in columns:
        values = scheme.values(column, table)
        assert values is not None
        found[scheme.of(column, table.channels, list(table.groups))] = values
    return found


@NAMES.register("cellseg")
def _ours(columns: Sequence[str], channels: Sequence[str], neighbour_px: float) -> Names:
    return Names()


def _degrees(values: np.ndarray, table: Measurements) -> np.ndarray:
    return np.degrees(values)


def _from_x_axis(values: np.ndarray, table: Measurements) -> np.ndarray:
    return np.mod(np.degrees(values) + 90.0, 180.0)


def _from_corner(values: np.ndarray, table: Measurements, *, axis: int, in_um: bool) -> np.ndarray:
    """Count from the corner of the first pixel, and not from its centre."""
    half = 0.5
    if in_um:
        half = 0.5 * table.pixel_size_um[axis] if table.pixel_size_um else np.nan
    return values + half


@NAMES.register("cellprofiler")
def _cellprofiler(columns: Sequence[str], channels: Sequence[str], neighbour_px: float) -> Names:
    shapes = {
        "area_px": "Area",
        "perimeter_px": "Perimeter",
        "equivalent_diameter_px": "EquivalentDiameter",
        "major_axis_px": "MajorAxisLength",
        "minor_axis_px": "MinorAxisLength",
        "orientation_rad": "Orientation",
        "eccentricity": "Eccentricity",
        "solidity": "Solidity",
        "extent": "Extent",
        "circularity": "FormFactor",
        "feret_max_px": "MaxFeretDiameter",
        "feret_min_px": "MinFeretDiameter",
        "centroid_x_px": "Center_X",
        "centroid_y_px": "Center_Y",
        "x1_px": "BoundingBoxMinimum_X",
        "y1_px": "BoundingBoxMinimum_Y",
        "x2_px": "BoundingBoxMaximum_X",
        "y2_px": "BoundingBoxMaximum_Y",
    }
    intensities = {
        "mean": "Mean",
        "median": "Median",
        "min": "Min",
        "max": "Max",
        "std": "Std",
        "integrated": "Integrated",
    }
    return Names(
        {
            "image": "Metadata_Image",
            "id": "ObjectNumber",
            "neighbours": f"Neighbors_NumberOfNeighbors_{neighbour_px:g}",
            **{ours: f"AreaShape_{theirs}" for ours, theirs in shapes.items()},
        },
        {ours: f"Intensity_{theirs}Intensity_{{channel}}" for ours, theirs in intensities.items()},
        {"orientation_rad": _degrees},
        group="Metadata_{group}",
    )


@NAMES.register("qupath")
def _qupath(columns: Sequence[str], channels: Sequence[str], neighbour_px: float) -> Names:
    theirs = {
        "image": "Image",
        # As it calls them that our GeoJSON brings along, so that rows of both are of the same cell.
        "id": "Cell id",
        "score": "Score",
        "class": "Classification",
        "circularity": "Circularity",
        "solidity": "Solidity",
    }
    lengths = {
        "perimeter": "Length",
        "feret_max": "Max diameter",
        "feret_min": "Min diameter",
        "centroid_x": "Centroid X",
        "centroid_y": "Centroid Y",
    }
    for ours, name in lengths.items():
        theirs |= {f"{ours}_px": f"{name} px", f"{ours}_um": f"{name} \u00b5m"}
    theirs |= {"area_px": "Area px^2", "area_um2": "Area \u00b5m^2"}
    intensities = {
        "mean": "Mean",
        "median": "Median",
        "min": "Min",
        "max": "Max",
        "std": "Std.Dev.",
    }
    return Names(
        theirs,
        {ours: f"{{channel}}: {name}" for ours, name in intensities.items()},
        _centroids_from_corner(),
    )


@NAMES.register("imagej")
def _imagej(columns: Sequence[str], channels: Sequence[str], neighbour_px: float) -> Names:
    # Its columns have no unit: that of the image, or pixels.
    in_um = "area_um2" in columns
    length = "_um" if in_um else "_px"
    theirs = {
        "image": "Label",
        "orientation_rad": "Angle",
        "solidity": "Solidity",
        "circularity": "Circ.",
        "area_um2" if in_um else "area_px": "Area",
        f"perimeter{length}": "Perim.",
        f"major_axis{length}": "Major",
        f"minor_axis{length}": "Minor",
        f"feret_max{length}": "Feret",
        f"feret_min{length}": "MinFeret",
        f"centroid_x{length}": "X",
        f"centroid_y{length}": "Y",
    }
    converts = _centroids_from_corner() | {
        "orientation_rad": _from_x_axis,
        "circularity": _at_most_1,
    }
    if not in_um:
        theirs |= {"x1_px": "BX", "y1_px": "BY", "x2_px": "Width", "y2_px": "Height"}
        converts |= {
            "x2_px": lambda values, table: values - table["x1_px"],
            "y2_px": lambda values, table: values - table["y1_px"],
        }
    suffix = "" if len(channels) == 1 else "_{channel}"
    intensities = {
        "mean": "Mean",
        "median": "Median",
        "min": "Min",
        "max": "Max",
        "std": "StdDev",
        "integrated": "RawIntDen",
    }
    return Names(theirs, {ours: name + suffix for ours, name in intensities.items()}, converts)


def _at_most_1(values: np.ndarray, table: Measurements) -> np.ndarray:
    return np.minimum(values, 1.0)


def _centroids_from_corner() -> dict[str, Convert]:
    return {
        f"centroid_{letter}{unit}": partial(_from_corner, axis=axis, in_um=unit == "_um")
        for axis, letter in enumerate("yx")
        for unit in ("_px", "_um")
    }
