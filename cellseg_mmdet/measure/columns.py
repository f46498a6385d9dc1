"""The columns of a table of cells: their order, and their units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cellseg_mmdet.measure.intensity import MEASURES

# What stands before the measures; columns that are taken from the name of the image come behind the first.
KEYS = ("image", "id", "class", "score")
LENGTHS = (
    "perimeter",
    "perimeter_crofton",
    "equivalent_diameter",
    "major_axis",
    "minor_axis",
    "feret_max",
    "feret_min",
    "centroid_x",
    "centroid_y",
    "nearest",
)
AREAS = ("area",)
# The corners of the box are places in the array of pixels, whatever the size of a pixel.
PLACES = ("x1", "y1", "x2", "y2")
# Units of other measures, as the end of their names.
OTHERS = {
    "orientation": "_rad",
    "eccentricity": "",
    "solidity": "",
    "extent": "",
    "circularity": "",
    "touches_border": "",
    "pieces": "",
    "holes": "",
    "neighbours": "",
}
ORDER = (
    "area",
    "perimeter",
    "perimeter_crofton",
    "equivalent_diameter",
    "major_axis",
    "minor_axis",
    "orientation",
    "eccentricity",
    "solidity",
    "extent",
    "circularity",
    "feret_max",
    "feret_min",
    "centroid_x",
    "centroid_y",
    *PLACES,
    "touches_border",
    "pieces",
    "holes",
    "neighbours",
    "nearest",
)


def names_of(measure: str) -> list[str]:
    """Return the columns of a measure of shape or neighbourhood, those in micrometres included.

    Example:
        >>> names_of("area"), names_of("feret_max"), names_of("x1"), names_of("orientation")
        (['area_px', 'area_um2'], ['feret_max_px', 'feret_max_um'], ['x1_px'], ['orientation_rad'])
    """
    if measure in OTHERS:
        return [measure + OTHERS[measure]]
    if measure in PLACES:
        return [f"{measure}_px"]
    return [f"{measure}_px", f"{measure}_um2" if measure in AREAS else f"{measure}_um"]


def in_columns(
    in_px: Mapping[str, np.ndarray], pixel_size_um: tuple[float, float] | None
) -> dict[str, np.ndarray]:
    """Return measures in pixels as columns, and lengths and areas in micrometres too where squares have a size.

    Args:
        in_px: measure -> (N,) values.
        pixel_size_um: of square pixels; None where it is not known.

    Example:
        >>> in_columns({"area": np.array([4.0])}, (0.5, 0.5))
        {'area_px': array([4.]), 'area_um2': array([1.])}
    """
    found: dict[str, np.ndarray] = {}
    for measure, values in in_px.items():
        first, *in_um = names_of(measure)
        found[first] = values
        if in_um and pixel_size_um is not None:
            found[in_um[0]] = values * pixel_size_um[0] ** (2 if measure in AREAS else 1)
    return found


def channel_columns(channels: Sequence[str]) -> list[list[str]]:
    """Return for each channel the names of its columns, in the order of `intensity.MEASURES`.

    Example:
        >>> channel_columns(["DAPI"])[0][:2]
        ['mean_DAPI', 'median_DAPI']
    """
    return [[f"{measure}_{channel}" for measure in MEASURES] for channel in channels]


def told_apart(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of channels with numbers where they have none, or one twice.

    Example:
        >>> told_apart(["DAPI", "", "DAPI"])
        ('DAPI', 'channel1', 'DAPI_2')
    """
    found: list[str] = []
    for index, name in enumerate(channels):
        plain = name.strip() or f"channel{index}"
        unique, number = plain, 1
        while unique in found:
            number += 1
            unique = f"{plain}_{number}"
        found.append(unique)
    return tuple(found)


def sorted_columns(names: Iterable[str], groups: Sequence[str] = ()) -> list[str]:
    """Return names of columns in the order of a table: keys, groups, shape, neighbours, then channel by channel.

    Args:
        names: of the columns; those that are not known, of channels, keep their order behind the others.
        groups: columns that are taken from the name of the image.
    """
    known = [KEYS[0], *groups, *KEYS[1:], *(name for one in ORDER for name in names_of(one))]
    place = {name: index for index, name in enumerate(known)}
    return sorted(names, key=lambda name: place.get(name, len(place)))
