"""Headers of OME-Zarr and npy that say what is not so."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from cellseg_mmdet.images import ImageError, read_image

PIXELS = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)


def ome_zarr(path: Path, array: dict[str, Any], attributes: Any = None, chunk: bytes = b"") -> Path:
    """Write a zarr 2 group of one array of 64 x 64 in one chunk, with another header."""
    (path / "0/0").mkdir(parents=True)
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    multiscales = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]}
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps(multiscales if attributes is None else attributes))
    said = dict(zarr_format=2, shape=[64, 64], chunks=[64, 64], dtype="|u1", compressor=None)
    said |= dict(fill_value=0, order="C", filters=None, dimension_separator="/")
    (path / "0/.zarray").write_text(json.dumps(said | array))
    (path / "0/0/0").write_bytes(chunk or PIXELS.tobytes())
    return path


def blank(num_bytes: int) -> bytes:
    pack = zlib.compressobj(1)
    block = bytes(1 << 24)
    return b"".join(pack.compress(block) for _ in range(num_bytes >> 24)) + pack.flush()


ZLIB = {"id": "zlib", "level": 1}
BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}


@pytest.mark.parametrize(
    ("array", "told"),
    [
        pytest.param(dict(shape=[2**62, 2**62]), "more pixels than the", id="shape of 2^62"),
        pytest.param(
            dict(shape=[30_000, 30_000], chunks=[1, 1]),
            "in 900000000 chunks",
            id="chunks of a pixel",
        ),
        pytest.param(dict(chunks=[0, 0]), r"chunks are of \(0, 0\)", id="chunks of nothing"),
        pytest.param(
            dict(chunks=[2**31, 2**31]), "is said to hold 4611686018427387904", id="chunks of 2^62"
        ),
        pytest.param(
            dict(shape=[40_000] * 2, chunks=[40_000] * 2, compressor=ZLIB),
            r"chunk \(0, 0\) of \d+ bytes is said to hold 1600000000",
            id="bomb",
        ),
        pytest.param(dict(shape=[0, 64]), "has no pixels: 0 x 64", id="nothing"),
        pytest.param(dict(shape=[-4, 64]), "non-negative", id="negative"),
        pytest.param(dict(shape=[], chunks=[]), "axes", id="no axes"),
        pytest.param(dict(shape=[1] * 40, chunks=[1] * 40), "arrays of 40 axes", id="many axes"),
        pytest.param(dict(dtype="<U100000000"), "Invalid type", id="long texts"),
        pytest.param(dict(compressor={"id": "nonsense"}), "nonsense", id="codec"),
    ],
)
def test_zarr_arrays(array: dict[str, Any], told: str, tmp_path: Path) -> None:
    chunk = blank(1 << 28) if array.get("compressor") == ZLIB else b""
    path = ome_zarr(tmp_path / "a.zarr", array, chunk=chunk)
    with pytest.raises(ImageError, match=told) as error:
        read_image(path)
    assert str(error.value).startswith(str(path))


def test_a_zarr_chunk_that_blosc_would_unpack_to_more(tmp_path: Path) -> None:
    chunk = numcodecs.Blosc().encode(np.zeros(1 << 24, np.uint8))
    path = ome_zarr(tmp_path / "a.zarr", dict(compressor=BLOSC), chunk=chunk)
    with pytest.raises(ImageError, match=r"a\.zarr"):
        read_image(path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}] * 20_000}]},
        [1],
        {"multiscales": []},
        {"multiscales": "a"},
        {"multiscales": [{"datasets": []}]},
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": ""}]}]},
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "../.."}]}]},
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}, {"path": "1"}]}]},
        {"plate": {"wells": [{"path": ""}]}},
        {"plate": {"wells": [{"path": "."}]}},
        {"plate": 3},
    ],
    ids=lambda attributes: str(attributes)[:50],
)
def test_zarr_attributes(attributes: Any, tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", {}, attributes)
    with pytest.raises(ImageError, match=r"a\.zarr"):
        read_image(path)


def test_a_zarr_group_that_holds_itself(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", {}, {})
    (path / "0/0/0").unlink()
    (path / "0/0").rmdir()
    (path / "0/.zarray").unlink()
    (path / "0").rmdir()
    (path / "0").symlink_to(".")
    with pytest.raises(ImageError, match=r"a\.zarr"):
        read_image(path)


def npy(shape: str, content: bytes = b"\0\0\0\0", version: int = 1) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(text).to_bytes(2 * version, "little")
        + text
        + content
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(npy("(1000000000, 1000000000)"), "an array of shape", id="10^18"),
        pytest.param(npy("(100000, 100000)"), "10000000000 bytes, and 4 follow", id="10^10"),
        pytest.param(npy("(0, 5)", b""), "has no pixels: 0 x 5", id="nothing"),
        pytest.param(npy("(0, 10**12)"), "no array of numpy", id="an expression"),
        pytest.param(npy("(-1, 5)"), "an array of shape", id="negative"),
        pytest.param(npy(f"({'1, ' * 100})"), "an array of shape", id="100 axes"),
        pytest.param(npy("(1.5, 2)"), "shape is not valid", id="fractions"),
        pytest.param(npy("(" * 9000, version=2), "no array of numpy", id="deep"),
        pytest.param(
            b"\x93NUMPY\2\0\xff\xff\xff\xff{", "expected 4294967295 bytes", id="2^32 of header"
        ),
    ],
)
def test_npy(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ImageError, match=told):
            read_image(source)
