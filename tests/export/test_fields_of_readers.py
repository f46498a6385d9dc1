"""What QuPath's and ImageJ's readers look for, field by field, parsed here without a library of either.

QuPath: ``QuPathTypeAdapters``, ``ROITypeAdapters`` and ``GsonTools`` of version 0.7. ImageJ: ``RoiDecoder``,
``RoiManager`` and ``ImageCanvas`` of version 1.54. docs/exports.md has the table.
"""

from __future__ import annotations

import json
import struct
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellseg_mmdet.export.geojson import to_geojson
from cellseg_mmdet.export.identity import class_rgb
from cellseg_mmdet.export.imagej import ImageJWriter
from cellseg_mmdet.images import PlaneSelection
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction
from tests.export.scenes import CLASSES, HEIGHT, WIDTH, dense, prediction, write

# ---------------------------------------------------------------- QuPath


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@pytest.mark.parametrize("object_type", ["detection", "cell", "annotation"])
def test_every_field_that_qupath_reads_is_of_the_kind_that_it_reads(
    tmp_path: Path, object_type: str
) -> None:
    write("geojson", tmp_path, prediction(), plane="t2_z3", object_type=object_type)
    # Numbers that JSON does not know would be read, by QuPath alone.
    collection = json.loads(
        (tmp_path / "geojson/a.geojson").read_text("utf-8"), parse_constant=lambda text: text
    )
    assert set(collection) == {"type", "features"}
    for feature in collection["features"]:
        assert set(feature) == {"type", "id", "geometry", "properties"}
        assert feature["id"] == str(uuid.UUID(feature["id"]))
        geometry = feature["geometry"]
        assert set(geometry) == {"type", "coordinates", "plane"}
        assert geometry["type"] in ("Polygon", "MultiPolygon")
        assert geometry["plane"] == {"c": -1, "z": 3, "t": 2}
        properties = feature["properties"]
        assert set(properties) == {"objectType", "name", "classification", "measurements"}
        assert properties["objectType"] == object_type
        assert isinstance(properties["name"], str)
        classification = properties["classification"]
        assert set(classification) == {"name", "color"}  # without a colour it is refused
        assert all(
            isinstance(level, int) and 0 <= level <= 255 for level in classification["color"]
        )
        assert len(classification["color"]) == 3
        # A map since version 0.4, a list of names and values before.
        assert all(map(is_number, properties["measurements"].values()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nucleus", {"name": "nucleus"}),
        (" two\nlines ", {"name": "two lines"}),
        ("tumour: CD8", {"names": ["tumour", "CD8"]}),
        ("tumour:", {"name": "tumour"}),
        (" ", {"name": "no name"}),
    ],
)
def test_names_of_classes_are_such_as_qupath_accepts(name: str, expected: dict[str, Any]) -> None:
    (feature, *_) = to_geojson(prediction(), [name, "other"])["features"]
    assert feature["properties"]["classification"] == {**expected, "color": list(class_rgb(0))}


# ---------------------------------------------------------------- ImageJ


def decoded(data: bytes) -> dict[str, Any]:
    """Read a ROI as RoiDecoder does: big-endian, at the offsets that it documents."""

    def at(layout: str, offset: int) -> Any:
        (value,) = struct.unpack_from(f">{layout}", data, offset)
        return value

    def text(offset: int, length: int) -> str:
        start, count = at("i", offset), at("i", length)
        assert start + 2 * count <= len(data)
        return data[start : start + 2 * count].decode("utf-16-be")

    assert data[:4] == b"Iout"
    second = at("i", 60)
    assert 64 <= second <= len(data) - 64
    roi: dict[str, Any] = {
        "version": at("h", 4),
        "type": data[6],
        "box": (at("h", 10), at("h", 8), at("h", 14), at("h", 12)),
        "count": at("H", 16) or at("i", 18),
        "stroke_argb": tuple(data[40:44]),
        "fill_argb": tuple(data[44:48]),
        "subtype": at("h", 48),
        "options": at("h", 50),
        "position": at("i", 56),
        "czt": tuple(at("i", second + offset) for offset in (4, 8, 12)),
        "name": text(second + 16, second + 20),
        "properties": dict(
            line.split(": ") for line in text(second + 40, second + 44).splitlines()
        ),
    }
    size = at("i", 36)
    if size:
        roi["rings"] = rings_of(struct.unpack_from(f">{size}f", data, 64))
    else:
        count = roi["count"]
        xy = np.frombuffer(data, ">i2", 2 * count, 64).reshape(2, count).T
        roi["rings"] = [np.array(roi["box"][:2]) + xy]
        if roi["options"] & 128:
            xy = np.frombuffer(data, ">f4", 2 * count, 64 + 4 * count).reshape(2, count).T
            roi["rings"] = [xy]
    return roi


def rings_of(path: tuple[float, ...]) -> list[np.ndarray]:
    """Take a path apart as ShapeRoi does: 0 moves to a point, 1 draws a line to one, 4 closes the ring."""
    rings: list[list[tuple[float, float]]] = []
    place, is_open = 0, False
    while place < len(path):
        command = path[place]
        if command == 4:
            assert is_open
            is_open, place = False, place + 1
            continue
        assert command == (1 if is_open else 0)
        if not is_open:
            rings.append([])
            is_open = True
        rings[-1].append((path[place + 1], path[place + 2]))
        place += 3
    assert not is_open
    return [np.array(ring) for ring in rings]


def rois_in(path: Path) -> dict[str, dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        return {name: decoded(archive.read(name)) for name in archive.namelist()}


def area(ring: np.ndarray) -> float:
    x, y = ring.T.astype(float)
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def test_every_field_that_imagej_reads(tmp_path: Path) -> None:
    write("imagej", tmp_path, prediction())
    rois = rois_in(tmp_path / "rois/a.zip")
    assert all(name.endswith(".roi") for name in rois)  # the ROI Manager skips others
    found = prediction()
    for roi, index in zip(rois.values(), (0, 1, 2, 4), strict=True):
        # 218 for the colour, 224 for the properties.
        assert roi["version"] >= 224
        assert roi["name"] == f"{index + 1:04} {CLASSES[found.labels[index]]}"
        assert roi["stroke_argb"] == (255, *class_rgb(found.labels[index]))
        assert roi["fill_argb"] == (0, 0, 0, 0) and roi["subtype"] == 0
        assert roi["properties"] == {
            "cell_id": str(index + 1), "score": f"{found.scores[index]:g}",
        }  # fmt: skip
        assert (roi["position"], roi["czt"]) == (0, (0, 0, 0))
        y, x = np.nonzero(dense(found.masks)[index])
        assert roi["box"] == (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert abs(sum(map(area, roi["rings"]))) == found.masks.areas[index]
    square, ring, pieces, holed = rois.values()
    assert square["type"] == 8 and not square["options"] & 128  # traced, whole numbers
    for composite, count in ((ring, 2), (pieces, 2), (holed, 2)):
        assert composite["type"] == 1 and len(composite["rings"]) == count
    # A hole goes round the other way, a second piece the same way.
    assert area(ring["rings"][0]) * area(ring["rings"][1]) < 0
    assert area(pieces["rings"][0]) * area(pieces["rings"][1]) > 0


@pytest.mark.parametrize("x", [40_000, 60_530, 70_000])
def test_coordinates_of_slides(tmp_path: Path, x: int) -> None:
    pixels = np.array([x * 10 + y for y in (1, 2, 3)] + [(x + 1) * 10 + 3])
    masks = Runs.from_pixels(pixels, np.zeros(4, int), 1, 10, x + 9)
    found = ImagePrediction("a", 1, 10, x + 9, masks.boxes, np.ones(1), np.zeros(1, int), masks)
    write("imagej", tmp_path, found)
    (roi,) = rois_in(tmp_path / "rois/a.zip").values()
    if roi["options"] & 128:
        assert roi["version"] >= 222 and x == 70_000
        xy = roi["rings"][0]
    else:
        # getShort of RoiDecoder: below -5000 it is a number of 16 bits without a sign.
        left = roi["box"][0] % 65_536
        xy = roi["rings"][0] - [roi["box"][0] - left, 0]
    corners = [[x, 4], [x, 1], [x + 1, 1], [x + 1, 3], [x + 2, 3], [x + 2, 4]]
    assert xy.tolist() == corners


def place_in(tmp_path: Path, axes: str, shape: tuple[int, ...], **chosen: Any) -> tuple[Any, ...]:
    """Return position and (channel, slice, frame) of cells that were found in a plane of an OME-TIFF."""
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((*shape, HEIGHT, WIDTH), np.uint16), metadata={"axes": axes})
    writer = ImageJWriter()
    writer.open(tmp_path, CLASSES)
    (roi_set,) = writer.write(
        prediction(), Picture(ImageKey(str(path), name="a"), PlaneSelection(**chosen))
    )
    places = {(roi["position"], roi["czt"]) for roi in rois_in(roi_set).values()}
    assert len(places) == 1
    return places.pop()


@pytest.mark.parametrize(
    ("axes", "shape", "chosen", "position", "czt"),
    [
        # A stack along one axis has one number.
        ("ZYX", (4,), {"z": 2}, 3, (0, 0, 0)),
        ("TYX", (4,), {"t": 0}, 1, (0, 0, 0)),
        ("CYX", (3,), {"channel": (1,)}, 2, (0, 0, 0)),
        ("CYX", (3,), {"channel": (0, 2)}, 0, (0, 0, 0)),
        ("TCZYX", (1, 1, 4), {"z": 2}, 3, (0, 0, 0)),
        # A hyperstack three, of which 0 is every plane of that axis.
        ("CZYX", (3, 4), {"z": 2, "channel": (0, 1, 2)}, 0, (0, 3, 0)),
        ("CZYX", (3, 4), {"z": 2, "channel": (1,)}, 0, (2, 3, 0)),
        ("TCZYX", (2, 3, 4), {"t": 1, "z": 0, "channel": (2,)}, 0, (3, 1, 2)),
        ("TZYX", (2, 4), {"t": 1, "z": "max"}, 0, (0, 0, 2)),
        ("ZYX", (4,), {"z": "max"}, 0, (0, 0, 0)),
    ],
)
def test_regions_are_on_their_plane_as_imagej_counts_them(
    tmp_path: Path,
    axes: str,
    shape: tuple[int, ...],
    chosen: dict[str, Any],
    position: int,
    czt: tuple[int, ...],
) -> None:
    assert place_in(tmp_path, axes, shape, **chosen) == (position, czt)
