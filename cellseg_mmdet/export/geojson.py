"""GeoJSON as QuPath reads it: a feature a cell, with its outline, class and measurements."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.export.identity import cell_uuid, class_name, class_rgb
from cellseg_mmdet.export.polygons import OutlinedCell, OutlineWriter, outlined
from cellseg_mmdet.export.writer import WRITERS
from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks.outlines import Polygon
from cellseg_mmdet.postprocess.parameters import check_choice
from cellseg_mmdet.structures import ImagePrediction

ObjectType = Literal["detection", "cell", "annotation"]
OBJECT_TYPES: tuple[str, ...] = get_args(ObjectType)
# Name of a measurement -> a number for each instance of the prediction.
Measurements = Mapping[str, Sequence[float] | np.ndarray]


def to_geojson(
    prediction: ImagePrediction,
    classes: Sequence[str],
    *,
    measurements: Measurements | None = None,
    object_type: ObjectType = "detection",
    simplify_px: float = 0,
    plane: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the cells of an image as a GeoJSON FeatureCollection, in pixels of the image.

    (0, 0) is the upper left corner of the first pixel, as QuPath has it. A feature has the UUID `cell_uuid`, its number
    as ``name``, and the measurements "Cell id" and "Score" besides those that are given. Instances without a pixel are
    left out. https://www.rfc-editor.org/rfc/rfc7946; https://qupath.readthedocs.io, "Importing objects".

    Args:
        prediction: of one image.
        classes: class names by label.
        measurements: name -> (N,) numbers; those that are not finite are left out, as JSON knows none.
        object_type: what QuPath takes the cells for.
        simplify_px: see `outlined`.
        plane: axis letter -> index from 0 on of the plane of a stack, of which Z and T are said.

    Raises:
        ConfigError: another object type, or ``simplify_px`` is no number from 0 on.
        DataError: a measurement has not one number for each instance.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[0, 1]]))
        >>> found = ImagePrediction("a", 1, 1, 2, masks.boxes, np.array([0.5]), np.array([0]), masks)
        >>> (cell,) = to_geojson(found, ["nucleus"], measurements={"Area px^2": [1.0]})["features"]
        >>> cell["geometry"]
        {'type': 'Polygon', 'coordinates': [[[1, 1], [1, 0], [2, 0], [2, 1], [1, 1]]]}
        >>> cell["properties"]["classification"]["name"], cell["properties"]["measurements"]
        ('nucleus', {'Cell id': 1, 'Score': 0.5, 'Area px^2': 1.0})
    """
    cells = outlined(prediction, simplify_px)
    features = _features(cells, prediction, classes, measurements or {}, object_type, plane or {})
    return {"type": "FeatureCollection", "features": list(features)}


@WRITERS.register("geojson")
class GeoJsonWriter(OutlineWriter):
    """``geojson/NAME.geojson`` for each image, written feature by feature; see `to_geojson`.

    Args:
        simplify_px: see `OutlineWriter`.
        object_type: what QuPath takes the cells for.
        measure: gives measurements of an image: name -> a number for each instance.

    Raises:
        ConfigError: a value that is not allowed.
    """

    folder = "geojson"
    what = "GeoJSON file"

    def __init__(
        self,
        simplify_px: float = 0,
        object_type: ObjectType = "detection",
        measure: Callable[[ImagePrediction, Picture], Measurements] | None = None,
    ) -> None:
        super().__init__(simplify_px)
        check_choice("object_type", object_type, OBJECT_TYPES)
        self.object_type: ObjectType = object_type
        self.measure = measure

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        path = self.path_of(prediction, ".geojson")
        measurements = {} if self.measure is None else self.measure(prediction, picture)
        features = _features(
            self.cells_of(prediction),
            prediction,
            self.classes,
            measurements,
            self.object_type,
            picture.plane_indices,
        )
        with (
            atomic_write(path) as temporary,
            temporary.open("w", encoding="utf-8", errors=ESCAPED) as file,
        ):
            file.write('{"type":"FeatureCollection","features":[')
            for number, feature in enumerate(features):
                file.write(",\n" if number else "\n")
                file.write(json.dumps(feature, separators=(",", ":"), ensure_ascii=False))
            file.write("\n]}\n")
        return [path]


def _features(
    cells: Iterable[OutlinedCell],
    prediction: ImagePrediction,
    classes: Sequence[str],
    measurements: Measurements,
    object_type: ObjectType,
    plane: Mapping[str, int],
) -> Iterator[dict[str, Any]]:
    check_choice("object_type", object_type, OBJECT_TYPES)
    columns = {}
    for name, values in measurements.items():
        column = np.asarray(values)
        if column.shape != (len(prediction),) or (column.size and column.dtype.kind not in "biuf"):
            raise DataError(
                f"{prediction.image_id}: measurement {name!r} is {column.dtype} of shape {column.shape}; it must be "
                f"{len(prediction)} numbers, one an instance"
            )
        columns[name] = column.tolist()
    scores, labels = prediction.scores.tolist(), prediction.labels.tolist()
    classifications = {
        label: _classification(class_name(label, classes), class_rgb(label))
        for label in sorted(set(labels))
    }
    for cell in cells:
        measured = {name: values[cell.index] for name, values in columns.items()}
        geometry = _geometry(cell.polygons)
        if {"Z", "T"} & set(plane):
            # -1: of every channel.
            geometry["plane"] = {"c": -1, "z": plane.get("Z", 0), "t": plane.get("T", 0)}
        yield {
            "type": "Feature",
            "id": cell_uuid(prediction.image_id, cell.cell_id),
            "geometry": geometry,
            "properties": {
                "objectType": object_type,
                "name": str(cell.cell_id),
                "classification": classifications[labels[cell.index]],
                "measurements": {
                    "Cell id": cell.cell_id,
                    "Score": scores[cell.index],
                    **{name: value for name, value in measured.items() if math.isfinite(value)},
                },
            },
        }


def _classification(name: str, rgb: tuple[int, int, int]) -> dict[str, Any]:
    """Return a class as QuPath keeps it: colons part the names of a class and its sub-classes, lines have no breaks.

    Of a name that its ``PathClass`` refuses, QuPath would import none of the cells.
    """
    names = [" ".join(part.split()) for part in name.split(":")]
    names = [part for part in names if part] or ["no name"]
    about = {"name": names[0]} if len(names) == 1 else {"names": names}
    return {**about, "color": list(rgb)}


def _geometry(polygons: Sequence[Polygon]) -> dict[str, Any]:
    closed = [
        [[*points, points[0]] for points in (ring.tolist() for ring in rings)] for rings in polygons
    ]
    if len(closed) == 1:
        return {"type": "Polygon", "coordinates": closed[0]}
    return {"type": "MultiPolygon", "coordinates": closed}
