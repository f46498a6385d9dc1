"""The table of cells of one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cellseg_mmdet.errors import ConfigError, DataError, UsageError, needs
from cellseg_mmdet.fields import is_number
from cellseg_mmdet.images import Image, ImageSource
from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.measure.columns import (
    AREAS,
    KEYS,
    LENGTHS,
    OTHERS,
    channel_columns,
    in_columns,
    names_of,
    sorted_columns,
    told_apart,
)
from cellseg_mmdet.measure.intensity import Ring, intensities_of
from cellseg_mmdet.measure.neighbours import neighbours_of
from cellseg_mmdet.measure.shape import shapes_of
from cellseg_mmdet.structures import ImagePrediction

# Of pixels: below, and beyond, a number was given in another unit.
_LEAST_UM, _MOST_UM = 1e-6, 1e6
# Sides of pixels that differ by less than this part are squares: files round.
_SQUARE = 1e-4


@dataclass(frozen=True)
class MeasureOptions:
    """How cells are measured.

    Attributes:
        pixel_size_um: height and width of a pixel, in place of what the images say.
        neighbour_px: cells up to this distance are neighbours, from pixel centre to pixel centre.
        ring: where the background of a cell is looked for.

    Raises:
        ConfigError: a value that is not allowed.

    Example:
        >>> MeasureOptions(pixel_size_um=(0.5, 0.5)).ring
        Ring(gap_px=2, width_px=5)
    """

    pixel_size_um: tuple[float, float] | None = None
    neighbour_px: float = 5.0
    ring: Ring = field(default_factory=Ring)

    def __post_init__(self) -> None:
        size = self.pixel_size_um
        is_size = isinstance(size, tuple | list) and len(size) == 2 and all(map(is_number, size))
        if size is not None and not (
            is_size and all(_LEAST_UM <= side <= _MOST_UM for side in size)
        ):
            raise ConfigError(
                f"pixel_size_um={size!r}: must be height and width of a pixel, each of {_LEAST_UM:g} to {_MOST_UM:g} "
                "micrometres"
            )
        if not is_number(self.neighbour_px) or not 0 <= self.neighbour_px < np.inf:
            raise ConfigError(f"neighbour_px={self.neighbour_px!r}: must be pixels, from 0 on")
        if not isinstance(self.ring, Ring):
            raise ConfigError(f"ring={self.ring!r}: must be a Ring")


@dataclass(frozen=True, eq=False)
class Measurements:
    """The table of the N cells of one image: what each is, and what was measured.

    ``table["area_px"]`` is a column, ``len`` counts the cells.

    Attributes:
        columns: name -> (N,) values, in the order of the table; docs/measurements.md defines each.
        image: name of the image.
        size_hw: of the image in pixels.
        channels: of the image, as the names of columns have them; none where no image was given.
        pixel_size_um: height and width of a pixel, None where it is not known.
        groups: column -> value, taken from the name of the image.
        neighbour_px: cells up to this distance are neighbours.

    Example:
        >>> from cellseg_mmdet import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
        >>> table = measure_image(found, ["cort"])
        >>> len(table), table["id"], table["score"], table["area_px"]
        (2, array([1, 2]), array([0.4, 0.9]), array([2., 1.]))
    """

    columns: Mapping[str, np.ndarray]
    image: str
    size_hw: tuple[int, int]
    channels: tuple[str, ...] = ()
    pixel_size_um: tuple[float, float] | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    neighbour_px: float = 5.0

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def to_dataframe(self) -> Any:
        """Return the table as a pandas ``DataFrame``.

        Raises:
            UsageError: pandas is not installed.
        """
        with needs("pandas"):
            import pandas
        return pandas.DataFrame(dict(self.columns))


def measure_image(
    found: ImagePrediction,
    classes: Sequence[str] | None,
    picture: Image | ImageSource | None = None,
    *,
    options: MeasureOptions | None = None,
    groups: Mapping[str, str] | None = None,
) -> Measurements:
    """Measure the cells of one image.

    Rows are in the order of the cells, and have the numbers that the cells have in all that is written of them
    (`ImagePrediction.cell_ids`); cells without a pixel are left out. Each cell is measured on all its pixels, also
    those that it shares with others.

    Args:
        found: the cells, N of them.
        classes: names by label; None calls each class by its label.
        picture: what they were found in, for intensities and the size of a pixel; opened sources are read in bands.
        options: by default `MeasureOptions`.
        groups: column -> value that all cells of the image have.

    Raises:
        DataError: the picture is not of the size of the masks, or a label is of no class.
        ImageError: the picture cannot be read.
        UsageError: a group has the name of another column.

    Example:
        >>> from cellseg_mmdet import Runs, read_image
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
        >>> table = measure_image(found, ["cort"], read_image(np.array([[9, 7, 0, 3]], np.uint8)))
        >>> table["mean_gray"], table["nearest_px"]
        (array([8., 3.]), array([2., 2.]))
    """
    options = options or MeasureOptions()
    chosen = filled_cells(found)
    if picture is not None and tuple(picture.size_hw) != (found.height, found.width):
        raise DataError(
            f"{found.image_id}: the cells are of an image of {found.height} x {found.width} pixels, "
            f"{picture.key} has {picture.size_hw[0]} x {picture.size_hw[1]}"
        )
    masks = RoIMasks.from_runs(found.masks[chosen])
    size_um = options.pixel_size_um or (picture.pixel_size_um if picture is not None else None)
    columns: dict[str, np.ndarray] = {
        KEYS[0]: _repeated(found.image_id, len(chosen)),
        **{name: _repeated(value, len(chosen)) for name, value in (groups or {}).items()},
        "id": found.cell_ids[chosen],
        "class": class_names_of(found, classes, chosen),
        "score": np.asarray(found.scores, dtype=np.float64)[chosen],
        **_measured(masks, size_um, options),
    }
    columns = {name: columns[name] for name in sorted_columns(columns, list(groups or {}))}
    channels: tuple[str, ...] = ()
    if picture is not None:
        channels = told_apart(picture.channels)
        values = intensities_of(masks, _rows_of(picture), len(channels), options.ring)
        for index, names in enumerate(channel_columns(channels)):
            check_groups(groups or {}, names)
            columns |= {name: values[:, index, column] for column, name in enumerate(names)}
    return Measurements(
        columns,
        found.image_id,
        (found.height, found.width),
        channels,
        size_um,
        dict(groups or {}),
        options.neighbour_px,
    )


def check_groups(groups: Iterable[str], columns: Iterable[str]) -> None:
    """Raise UsageError where a column that is taken from the names of images is one that there is.

    Example:
        >>> check_groups(["mean_gray"], ["mean_gray", "max_gray"])
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.UsageError: there is a column mean_gray already; give the group another name
    """
    taken = set(groups) & set(columns)
    if taken:
        raise UsageError(f"there is a column {min(taken)} already; give the group another name")


def filled_cells(found: ImagePrediction) -> np.ndarray:
    """Return the indices (M,) of the cells that have pixels.

    Example:
        >>> from cellseg_mmdet import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> filled_cells(ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks))
        array([0, 1])
    """
    return np.flatnonzero(found.masks.areas > 0)


def class_names_of(
    found: ImagePrediction, classes: Sequence[str] | None, chosen: np.ndarray
) -> np.ndarray:
    """Return the name of the class of the cells of the indices given, (M,) str objects.

    Raises:
        DataError: a label is of no class.
    """
    labels = np.asarray(found.labels, dtype=np.int64)[chosen]
    if classes is None:
        return np.array([str(label) for label in labels.tolist()], dtype=object)
    wrong = (labels < 0) | (labels >= len(classes))
    if wrong.any():
        raise DataError(
            f"{found.image_id}: a cell of label {labels[wrong][0]}, but there are the {len(classes)} classes "
            f"{', '.join(classes)}"
        )
    return np.array([classes[label] for label in labels.tolist()], dtype=object)


def _measured(
    masks: RoIMasks, size_um: tuple[float, float] | None, options: MeasureOptions
) -> dict[str, np.ndarray]:
    in_px = shapes_of(masks) | neighbours_of(masks, options.neighbour_px)
    if size_um is None or abs(size_um[0] - size_um[1]) <= _SQUARE * size_um[0]:
        return in_columns(in_px, size_um)
    # In pixels that are no squares a length is no multiple of what it is in pixels, and shapes are others.
    true = shapes_of(masks, size_um) | neighbours_of(masks, spacing_yx=size_um)
    in_px |= {name: true[name] for name in OTHERS if name != "neighbours"}
    return in_columns(in_px, None) | {names_of(name)[1]: true[name] for name in (*AREAS, *LENGTHS)}


def _rows_of(picture: Image | ImageSource) -> Any:
    if isinstance(picture, Image):
        return lambda y1, y2: picture.pixels[y1:y2]
    return lambda y1, y2: picture.read_window(y1, 0, y2 - y1, picture.size_hw[1])


def _repeated(text: str, count: int) -> np.ndarray:
    found = np.empty(count, dtype=object)
    found[:] = text
    return found
