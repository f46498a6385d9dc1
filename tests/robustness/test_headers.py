"""Headers and descriptions that say anything: a named error, or the pixels that are there."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellseg_mmdet.converters.readers.label_images import load_label_image
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.images import ImageError, PlaneSelection, open_images, read_image

PIXELS = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)


def tiff(pixels: np.ndarray = PIXELS, **options: Any) -> bytearray:
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, **({"metadata": None} | options))
    return bytearray(content.getvalue())


def described(text: str) -> bytearray:
    return tiff(description=text.encode())


def header(data: bytearray, at: int | None = None) -> tuple[int, int]:
    """Return where the first page header begins and how many entries it has."""
    (offset,) = struct.unpack_from("<I", data, 4) if at is None else (at,)
    return offset, struct.unpack_from("<H", data, offset)[0]


def entry(data: bytearray, code: int) -> int:
    offset, count = header(data)
    places = [offset + 2 + 12 * index for index in range(count)]
    return next(place for place in places if struct.unpack_from("<H", data, place)[0] == code)


def next_header(data: bytearray, at: int | None = None) -> int:
    """Return where the offset of the following page header stands."""
    offset, count = header(data, at)
    return offset + 2 + 12 * count


def changed(kind: str, at: int, value: int, **options: Any) -> bytearray:
    """Return a TIFF in which a field of the entry of a tag is another."""
    data = tiff(**options)
    place = entry(data, at) + {"count": 4, "value": 8}[kind]
    struct.pack_into("<I", data, place, value)
    return data


def chained_to(target: int) -> bytearray:
    data = tiff()
    struct.pack_into("<I", data, next_header(data), target)
    return data


def big_header(at: int, value: int) -> bytearray:
    data = tiff(bigtiff=True)
    place = struct.unpack_from("<Q", data, 8)[0] if at else 8
    struct.pack_into("<Q", data, place, value)
    return data


def pages(number: int) -> bytearray:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as writer:
        for _ in range(number):
            writer.write(PIXELS, metadata=None, contiguous=False)
    return bytearray(content.getvalue())


def ome(
    z: Any = 1,
    c: Any = 1,
    data: str = 'IFD="0" PlaneCount="1"',
    more: str = "",
    size: str = "",
) -> bytearray:
    return described(
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="64" SizeY="64" '
        f'{size} SizeZ="{z}" SizeC="{c}" SizeT="1"><TiffData {data}/></Pixels></Image>{more}</OME>'
    )


MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="A:1" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value>'
    '<Modulo><ModuloAlongT Type="lifetime" Start="0" End="1e12" Step="1"/></Modulo></Value></XMLAnnotation>'
    "</StructuredAnnotations>"
)
SCN = (
    '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection><image name="a">'
    '<pixels sizeX="64" sizeY="64"><dimension ifd="0" sizeX="64" sizeY="64" r="0"/>'
    '<dimension ifd="0" sizeX="64" sizeY="64" r="0" z="1000000000"/></pixels></image></collection></scn>'
)
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "lol">'
    + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcde", "bcdef", strict=True)
    )
    + "]><OME>&f;</OME>"
)


def imagej(**counts: Any) -> bytearray:
    return described("ImageJ=1.53\n" + "".join(f"{key}={value}\n" for key, value in counts.items()))


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "chain to itself": (lambda: chained_to(8), "comes back to byte 8"),
    "chain behind the end": (
        lambda: chained_to(0xFFFFFFF0),
        "page header 1 is said to be at byte 42949",
    ),
    "header without entries": (
        lambda: b"II*\0\x08\0\0\0" + bytes(20),
        "page header 0, at byte 8, says that it has 0 entries",
    ),
    "a million headers without entries": (
        lambda: b"II*\0" + b"".join(struct.pack("<IH", 8 + 6 * n, 0) for n in range(1_000_000)),
        "says that it has 0 entries",
    ),
    "header of 2^63 entries": (
        lambda: big_header(1, 2**63),
        "says that it has 9223372036854775808 entries",
    ),
    "header at 2^63": (lambda: big_header(0, 2**63 + 8), "the file ends at"),
    "width 0": (lambda: changed("value", 256, 0), "has no pixels: 64 x 0"),
    "width 2^32": (lambda: changed("value", 256, 2**32 - 1), "more pixels than the"),
    "height of 2^32 values": (lambda: changed("count", 257, 2**32 - 1), "has no pixels: 0 x 64"),
    "no samples": (lambda: changed("value", 277, 0), "a pixel has 0 samples"),
    "no rows in a strip": (lambda: changed("value", 278, 0), "a strip or tile 0 rows"),
    "no rows in a tile": (
        lambda: changed("value", 323, 0, tile=(16, 16)),
        "a strip or tile 0 rows",
    ),
    "a million reduced pages": (
        lambda: reduced_to_itself(1_000_000),
        "says that it has 1000000 reduced ones",
    ),
    "2^32 strips": (lambda: changed("count", 273, 2**32 - 1), "has 0 of its 1 strips"),
    "OME of 10^9 planes": (lambda: ome(z=10**9), "OME-XML says 1000000000 planes"),
    "OME of 10^36 planes": (lambda: ome(z=10**18, c=10**18), "OME-XML says 1000000000000000000000"),
    "OME data of 10^9 planes": (
        lambda: ome(data='IFD="0" PlaneCount="1000000000"'),
        "OME-XML says 1000000001",
    ),
    "OME of many planes": (lambda: ome(z="many"), "says SizeZ='many', no whole number"),
    "OME with a long axis": (lambda: ome(more=MODULO), "OME-XML says 1000000000001 planes"),
    "OME with an axis of no numbers": (
        lambda: ome(more=MODULO.replace("1e12", "far")),
        "Modulo without a range",
    ),
    "SCN of 10^9 planes": (lambda: described(SCN), "SCN description says 1000000001 planes"),
    "ImageJ of 7 planes, of which one is there": (
        lambda: imagej(images=7, slices=7),
        r"says 7 planes, the file has the pixels of 1: it is cut off",
    ),
    "ImageJ of 10^18 planes": (
        lambda: imagej(images=6, channels=10**9, frames=10**9),
        "says 1000000000000000000 planes",
    ),
    "ImageJ of many planes": (
        lambda: imagej(images=2, slices="many"),
        "says slices='many', no whole number",
    ),
    "shape of 10^9 planes": (
        lambda: described(json.dumps({"shape": [10**9, 64, 64]})),
        "holds 1000000000 planes",
    ),
    "shape of words": (lambda: described('{"shape": ["a", 64]}'), "cannot be read"),
    "shape too deep": (
        lambda: described('{"shape": ' + "[" * 50_000 + "]" * 50_000 + "}"),
        "cannot be read",
    ),
}

# What is odd about them does not change which pixels are meant.
ACCEPTED: dict[str, Callable[[], bytes]] = {
    "OME without planes": lambda: ome(z=-5),
    "OME with a pixel size in words": lambda: ome(
        size='PhysicalSizeX="wide" PhysicalSizeY="1e400"'
    ),
    "OME in an entity of entities": lambda: described(LAUGHS),
    "OME too deep": lambda: described(
        '<?xml version="1.0"?><OME>' + "<a>" * 5_000 + "</a>" * 5_000 + "</OME>"
    ),
    "ImageJ without planes": lambda: imagej(images=-3, slices=-3),
    "shape that is another": lambda: described(json.dumps({"shape": [10**18, 10**18]})),
    "pixel size of 2^32 values": lambda: changed("count", 282, 2**32 - 1),
    "reduced pages that are the page itself": lambda: reduced_to_itself(),
    "chain of reduced pages to itself": lambda: reduced_chain(),
}


def reduced(**options: Any) -> bytearray:
    content = io.BytesIO()
    with tifffile.TiffWriter(content, **options) as writer:
        writer.write(PIXELS, subifds=2, metadata=None)
        writer.write(PIXELS[::2, ::2], subfiletype=1, metadata=None)
        writer.write(PIXELS[::4, ::4], subfiletype=1, metadata=None)
    return bytearray(content.getvalue())


def reduced_to_itself(number: int = 2) -> bytearray:
    data = reduced()
    struct.pack_into("<II", data, entry(data, 330) + 4, number, len(data))
    return data + data[4:8] * number


def reduced_chain() -> bytearray:
    data = reduced()
    (offset,) = struct.unpack_from("<I", data, entry(data, 330) + 8)
    (first,) = struct.unpack_from("<I", data, offset)
    struct.pack_into("<I", data, next_header(data, first), first)
    return data


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    make, told = REFUSED[name]
    path = tmp_path / "a.tif"
    path.write_bytes(make())
    with pytest.raises(ImageError, match=told) as error:
        read_image(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(ACCEPTED[name]())
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], PIXELS)


@pytest.mark.parametrize("selection", [PlaneSelection(planes="each"), PlaneSelection(z="max")])
def test_planes_by_the_billion_are_not_listed(selection: PlaneSelection, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(described(json.dumps({"shape": [10**9, 64, 64], "axes": "ZYX"})))
    with pytest.raises(ImageError, match=r"says 1000000000 planes, more than the 262144"):
        open_images(path, selection)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_pages_behind_a_cut_are_missed(kept: float, tmp_path: Path) -> None:
    data = pages(5)
    path = tmp_path / "a.tif"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=r"cut off|ends"):
        [page.read() for page in open_images(path, PlaneSelection(planes="each"))]


def test_an_imagej_stack_that_is_cut_off_is_no_picture(tmp_path: Path) -> None:
    content = io.BytesIO()
    tifffile.imwrite(content, np.stack([PIXELS] * 7), imagej=True, metadata={"axes": "ZYX"})
    path = tmp_path / "a.tif"
    path.write_bytes(content.getvalue()[: content.tell() // 2])
    with pytest.raises(ImageError, match="it is cut off"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(
            lambda: tiff(np.stack([PIXELS] * 3), imagej=True), "holds 3 planes", id="stack"
        ),
        pytest.param(
            lambda: imagej(images=7, slices=7),
            "its ImageJ description says 7 planes",
            id="cut stack",
        ),
        pytest.param(
            lambda: chained_to(8), "its chain of page headers comes back to byte 8", id="loop"
        ),
        pytest.param(lambda: ome(z=10**9), "its OME-XML says 1000000000 planes", id="OME"),
    ],
)
def test_label_images(content: Callable[[], bytes], told: str, tmp_path: Path) -> None:
    data = content()
    if told == "holds 3 planes":  # ImageJ's own stacks beyond 4 GB have one header for all planes
        struct.pack_into("<I", data, next_header(data), 0)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match=rf"^{told}"):
        load_label_image(tmp_path / "a.tif")
