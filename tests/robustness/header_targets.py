from __future__ import annotations

import functools
import io
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cellseg_mmdet.images import PlaneSelection, image_size_hw, open_images, read_image
from tests.robustness.fuzzing import mutated, target

PIXELS = np.arange(48 * 40, dtype=np.uint8).reshape(48, 40)
NUMBERS = (0, 1, 2, 3, 7, 48, 255, 4096, 60_000, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
COUNTS = (-(10**9), -1, 0, 1, 2, 3, 7, 1000, 10**6, 10**9, 2**31, 2**32, 10**18, 10**30)
WORDS = ("", "many", "NaN", "inf", "1e9", "-0", "0x10", "[", "null", "é")


@functools.cache
def corpus() -> list[bytes]:
    """Return TIFF files of several pages, with metadata of several kinds, reduced pages and tiles."""
    stack = np.stack([PIXELS] * 3)
    options: list[dict[str, Any]] = [
        dict(data=PIXELS),
        dict(data=stack, photometric="minisblack"),
        dict(data=stack, imagej=True, metadata={"axes": "ZYX", "Labels": ["a", "b", "c"]}),
        dict(data=stack, ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["a", "b", "c"]}}),
        dict(data=PIXELS, tile=(16, 16), compression="zlib", bigtiff=True),
        dict(data=np.dstack([PIXELS] * 3), photometric="rgb", planarconfig="separate"),
        dict(data=stack, photometric="minisblack", metadata=None, contiguous=False),
    ]
    found = []
    for one in options:
        content = io.BytesIO()
        tifffile.imwrite(content, **one)
        found.append(content.getvalue())
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as writer:
        writer.write(PIXELS, subifds=2, tile=(16, 16))
        writer.write(PIXELS[::2, ::2], subfiletype=1, tile=(16, 16))
        writer.write(PIXELS[::4, ::4], subfiletype=1, tile=(16, 16))
    found.append(content.getvalue())
    return found


@target
def tiff_fields(rng: np.random.Generator, folder: Path) -> None:
    """Entries of page headers with another tag, type, number of values, or value; offsets that lead anywhere."""
    data = bytearray(corpus()[rng.integers(len(corpus()))])
    places = _fields(data)
    for _ in range(int(rng.integers(1, 4))):
        place, size = places[rng.integers(len(places))]
        number = int(rng.choice(NUMBERS))
        if rng.random() < 0.3:  # where something else stands, another page header say
            number = places[rng.integers(len(places))][0]
        if size == 2:
            number = int(rng.choice([number, rng.integers(0, 400)])) & 0xFFFF
        data[place : place + size] = number.to_bytes(size, "little")
    if rng.random() < 0.2:
        del data[int(rng.integers(8, len(data))) :]
    path = folder / "a.tif"
    path.write_bytes(data)
    image_size_hw(path)
    for plane in open_images(path, PlaneSelection(planes="each"))[:20]:
        plane.read()
    read_image(path)


@target
def tiff_descriptions(rng: np.random.Generator, folder: Path) -> None:
    """What OME, ImageJ, tifffile and others write into descriptions, with other numbers, and damaged."""
    text = DESCRIPTIONS[rng.integers(len(DESCRIPTIONS))]
    for name in ("{a}", "{b}", "{c}", "{d}"):
        is_word = rng.random() < 0.15
        value = WORDS[rng.integers(len(WORDS))] if is_word else COUNTS[rng.integers(len(COUNTS))]
        text = text.replace(name, str(value if rng.random() < 0.6 else 1))
    content = text.encode()
    if rng.random() < 0.3:
        content = mutated(rng, content)
    number = int(rng.integers(1, 4))
    path = folder / ("a_MMStack.ome.tif" if rng.random() < 0.3 else "a.tif")
    with tifffile.TiffWriter(path) as writer:
        for index in range(number):
            writer.write(
                PIXELS,
                description=content.replace(b"\0", b" ") if not index else None,
                metadata=None,
                contiguous=False,
                software=SOFTWARE[rng.integers(len(SOFTWARE))],
            )
    image_size_hw(path)
    for plane in open_images(path, PlaneSelection(planes="each"))[:20]:
        plane.read()
    read_image(path)


@target
def zarr_metadata(rng: np.random.Generator, folder: Path) -> None:
    """Metadata of OME-Zarr with any value in any place, missing or damaged files, chunks of other lengths."""
    path = folder / "a.zarr"
    shutil.rmtree(path, ignore_errors=True)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    datasets = [{"path": name, "coordinateTransformations": scale} for name in "01"]
    attributes: Any = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    if rng.random() < 0.2:
        attributes = {"plate": {"wells": [{"path": "A/1"}]}, "well": {"images": [{"path": "0"}]}}
    contents: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    for index, name in enumerate("01"):
        sides = [48 >> index, 40 >> index]
        header = dict(zarr_format=2, shape=sides, chunks=[16, 16], dtype="|u1", compressor=None)
        header |= dict(fill_value=0, order="C", filters=None, dimension_separator=".")
        if rng.random() < 0.3:
            header["compressor"] = {"id": "zlib", "level": 1}
        contents[f"{name}/.zarray"] = header
    for _ in range(int(rng.integers(1, 4))):
        _change(rng, contents)
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(content).encode()
        (path / name).write_bytes(mutated(rng, data) if rng.random() < 0.1 else data)
    (path / "0").mkdir(exist_ok=True)
    for y in range(3):
        for x in range(3):
            chunk = bytes(256 if rng.random() < 0.9 else int(rng.integers(0, 600)))
            (path / f"0/{y}.{x}").write_bytes(chunk)
    image_size_hw(path)
    read_image(path)


def _fields(data: bytes) -> list[tuple[int, int]]:
    """Return places and sizes of all numbers in all page headers of a little-endian TIFF."""
    is_big = data[2:4] == b"+\0"
    count_bytes, entry_bytes, offset_bytes = (8, 20, 8) if is_big else (2, 12, 4)
    place = 8 if is_big else 4
    found = [(place, offset_bytes)]
    offset = int.from_bytes(data[place : place + offset_bytes], "little")
    while offset:
        found.append((offset, count_bytes))
        count = int.from_bytes(data[offset : offset + count_bytes], "little")
        for index in range(count):
            entry = offset + count_bytes + index * entry_bytes
            found += [(entry, 2), (entry + 2, 2)]
            found += [(entry + 4, offset_bytes), (entry + 4 + offset_bytes, offset_bytes)] * 2
            code, kind = struct.unpack_from("<HH", data, entry)
            if code == 330 and kind in (4, 13):
                start = int.from_bytes(data[entry + 8 : entry + 12], "little")
                found += [(start + 4 * number, 4) for number in range(2)] * 4
        place = offset + count_bytes + count * entry_bytes
        found += [(place, offset_bytes)] * 4
        offset = int.from_bytes(data[place : place + offset_bytes], "little")
    return found


def _change(rng: np.random.Generator, content: Any) -> None:
    """Put any value in any place of JSON content."""
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    if not keys:
        return
    key = keys[rng.integers(len(keys))]
    inner = content[key]
    if isinstance(inner, dict | list) and rng.random() < 0.9:
        _change(rng, inner)
    elif rng.random() < 0.1:
        del content[key]
    else:
        values = [
            *COUNTS,
            *WORDS,
            None,
            True,
            1.5,
            [],
            {},
            [1],
            {"id": "blosc"},
            "<f8",
            "0",
            "..",
            [2**40, 2**40],
        ]
        content[key] = values[rng.integers(len(values))]


OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0" Name="a">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="40" SizeY="48" SizeZ="{a}" SizeC="{b}" '
    'SizeT="{c}" PhysicalSizeX="{d}" PhysicalSizeY="0.5"><Channel ID="Channel:0:0" SamplesPerPixel="1" Name="x"/>'
    '<TiffData FirstZ="{d}" IFD="{b}" PlaneCount="{c}"/></Pixels></Image></OME>'
)
DESCRIPTIONS = [
    OME,
    OME.replace('FirstZ="{d}" IFD="{b}" PlaneCount="{c}"', ""),
    OME.replace('SamplesPerPixel="1"', 'SamplesPerPixel="{d}"').replace('FirstZ="{d}" ', ""),
    OME.replace('PlaneCount="{c}"/>', '><UUID FileName="b.tif">urn:uuid:{a}</UUID></TiffData>'),
    "ImageJ=1.53\nimages={a}\nchannels={b}\nslices={c}\nframes={d}\nhyperstack=true\nunit=micron\nspacing={a}\n",
    "ImageJ=1.53\nimages={a}\nslices={a}\n",
    '{"shape": [{a}, 48, 40], "axes": "QYX"}',
    '{"shape": [{a}, {b}, 48, 40], "truncated": true}',
    '{"shape": [{a}, {b}], "axes": "{c}"}',
    '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection><image name="a">'
    '<pixels sizeX="40" sizeY="48"><dimension ifd="0" r="0" c="{a}" z="{b}"/><dimension ifd="{c}" r="{d}" z="0"/>'
    "</pixels></image></collection></scn>",
    "Aperio Image Library v1\n40x48 (48x40)|AppMag = {a}|MPP = {b}|TotalWidth = {c}",
    "state.configPath={a}\nstate.acq.numberOfFrames={b}\nscanimage.SI.hChannels.channelSave = [{a};{b}]\n",
    "SI.hChannels.channelSave = {a}\nSI.hStackManager.framesPerSlice = {b}\n",
    "SCANIMAGE {a} frames {b}",
    "<MetaData><prop id={a}/></MetaData>",
    "RANGE {a} {b}\n[Acquisition]\n{c}",
]  # fmt: skip
SOFTWARE = ("", "SI.VERSION = 1", "Philips DP v1.0", "Indica Labs", "PerkinElmer-QPI", "ScanImage")
