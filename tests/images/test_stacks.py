"""Axes by name: nothing is dropped, nothing is guessed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr

from cellseg_mmdet.images import (
    ImageError,
    ImageKey,
    PlaneSelection,
    add_plane_arguments,
    image_size_hw,
    open_image,
    open_images,
    read_image,
    selection_from,
)


def stack(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, shape).astype(dtype)


def ome_tiff(path: Path, data: np.ndarray, axes: str, **options: Any) -> Path:
    metadata = {
        "axes": axes,
        "Channel": {"Name": ["DAPI", "actin"][: data.shape[axes.index("C")]]}
        if "C" in axes
        else None,
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "\u00b5m",
        "PhysicalSizeY": 500.0,
        "PhysicalSizeYUnit": "nm",
    }
    metadata = {key: value for key, value in metadata.items() if value is not None}
    tifffile.imwrite(path, data, ome=True, metadata=metadata, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zstd"}, {"tile": (16, 16)}, {"bigtiff": True, "byteorder": ">"}],
    ids=str,
)
def test_planes_of_ome_tiff(tmp_path: Path, options: dict[str, Any]) -> None:
    data = stack(3, 2, 4, 40, 32)
    path = ome_tiff(tmp_path / "a.ome.tif", data, "TCZYX", **options)
    image = read_image(path, PlaneSelection(channel=("actin",), z=3, t=2))
    np.testing.assert_array_equal(image.pixels[..., 0], data[2, 1, 3])
    assert image.channels == ("actin",)
    assert image.pixel_size_um == (0.5, 0.25)
    both = read_image(path, PlaneSelection(channel=(1, "DAPI"), z="max", t=0))
    np.testing.assert_array_equal(both.pixels, data[0].max(axis=1)[::-1].transpose(1, 2, 0))
    assert both.channels == ("actin", "DAPI")
    assert image_size_hw(path) == (40, 32)


def test_what_is_not_selected_is_an_error_that_lists_axes_and_options(tmp_path: Path) -> None:
    path = ome_tiff(tmp_path / "a.ome.tif", stack(3, 2, 4, 40, 32), "TCZYX")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    for part in (
        "3 times",
        "2 channels (DAPI, actin)",
        "4 z",
        "axes TCZYX",
        "--channel",
        "--z",
        "--t",
        "--planes each",
    ):
        assert part in text
    with pytest.raises(ImageError, match=r"no channel 'GFP'; there are DAPI, actin"):
        read_image(path, PlaneSelection(channel=("GFP",), z=0, t=0))
    with pytest.raises(ImageError, match=r"no plane 4 for --z; there are 0 to 3"):
        read_image(path, PlaneSelection(channel=(0,), z=4, t=0))


def test_each_plane_has_its_name_and_is_found_again_by_its_key(tmp_path: Path) -> None:
    data = stack(3, 2, 4, 40, 32)
    path = ome_tiff(tmp_path / "a.tif", data, "TCZYX")
    sources = open_images(path, PlaneSelection(planes="each", channel=(1,)))
    assert len(sources) == 12
    assert [source.key.name for source in sources][:5] == [
        "a_t0_z0",
        "a_t0_z1",
        "a_t0_z2",
        "a_t0_z3",
        "a_t1_z0",
    ]
    key = sources[-1].key
    sources[0].close()
    assert key == ImageKey(str(path), None, "t2_z3", "a_t2_z3")
    image = read_image(key, PlaneSelection(planes="each", channel=(1,)))
    np.testing.assert_array_equal(image.pixels[..., 0], data[2, 1, 3])
    every = open_images(path, PlaneSelection(planes="each"))
    assert len(every) == 24
    last = every[-1].key
    every[0].close()
    assert last.plane == "t2_c1_z3"
    np.testing.assert_array_equal(read_image(last).pixels[..., 0], data[2, 1, 3])


IMAGEJ = {
    "ZYX": (5, 40, 32),
    "TYX": (3, 40, 32),
    "CYX": (2, 40, 32),
    "ZCYX": (5, 2, 40, 32),
    "TZYX": (3, 5, 40, 32),
    "TZCYX": (3, 5, 2, 40, 32),
    "TCYX": (3, 2, 40, 32),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("axes", IMAGEJ)
@pytest.mark.parametrize("truncate", [False, True], ids=["pages", "one page"])
def test_imagej_hyperstacks(tmp_path: Path, axes: str, dtype: str, truncate: bool) -> None:
    data = stack(*IMAGEJ[axes], dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        data,
        imagej=True,
        truncate=truncate,
        resolution=(4.0, 2.0),
        metadata={"axes": axes, "unit": "um"},
    )
    selection = PlaneSelection(
        channel=(1,) if "C" in axes else None,
        z=3 if "Z" in axes else None,
        t=1 if "T" in axes else None,
    )
    image = read_image(path, selection)
    index = tuple({"C": 1, "Z": 3, "T": 1}[axis] for axis in axes[:-2])
    np.testing.assert_array_equal(image.pixels[..., 0], data[index])
    assert image.pixel_size_um == (0.5, 0.25)
    with open_image(path, selection) as source:
        np.testing.assert_array_equal(
            source.read_window(5, 7, 20, 11)[..., 0], data[index][5:25, 7:18]
        )
    with pytest.raises(ImageError, match="--planes each"):
        read_image(path)


def test_imagej_rgb_stack(tmp_path: Path) -> None:
    data = stack(4, 30, 20, 3, dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYXS"})
    np.testing.assert_array_equal(read_image(path, PlaneSelection(z=2)).pixels, data[2])


def test_plain_pages(tmp_path: Path) -> None:
    data = stack(4, 30, 20, dtype=np.uint8)
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in data:
            writer.write(page, metadata=None, contiguous=False)
    with pytest.raises(ImageError, match=r"holds 4 planes .*--planes"):
        read_image(path)
    for selection in (PlaneSelection(planes=2), PlaneSelection(z=2)):
        np.testing.assert_array_equal(read_image(path, selection).pixels[..., 0], data[2])
    np.testing.assert_array_equal(
        read_image(path, PlaneSelection(z="max")).pixels[..., 0], data.max(axis=0)
    )
    sources = open_images(path, PlaneSelection(planes="each"))
    names = [source.key.name for source in sources]
    for page, source in zip(data, sources, strict=True):
        np.testing.assert_array_equal(source.read().pixels[..., 0], page)
    sources[0].close()
    assert names == [f"pages_i{number}" for number in range(4)]


def test_pages_of_several_sizes_are_scenes(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    first, second = stack(30, 20), stack(41, 17)
    with tifffile.TiffWriter(path) as writer:
        writer.write(first, metadata=None)
        writer.write(second, metadata=None)
    with pytest.raises(ImageError, match=r"holds 2 scenes.*--scene"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, PlaneSelection(scene=1)).pixels[..., 0], second)
    sources = open_images(path, PlaneSelection(planes="each"))
    assert [source.size_hw for source in sources] == [(30, 20), (41, 17)]
    key = sources[1].key
    sources[0].close()
    assert key.name == "two_s1"
    np.testing.assert_array_equal(read_image(key).pixels[..., 0], second)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_samples_without_colour_are_channels(tmp_path: Path, count: int) -> None:
    data = stack(30, 20, count, dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        data,
        photometric="minisblack",
        planarconfig="contig",
        metadata=None,
        extrasamples=["unspecified"] * (count - 1),
    )
    with pytest.raises(ImageError, match=f"{count} channels"):
        read_image(path)
    image = read_image(path, PlaneSelection(channel=(count - 1,)))
    np.testing.assert_array_equal(image.pixels, data[..., -1:])


@pytest.mark.parametrize("levels", [1, 3])
def test_pyramids(tmp_path: Path, levels: int) -> None:
    full = stack(256, 192)
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        options = dict(tile=(32, 32), photometric="minisblack", metadata={"axes": "YX"})
        writer.write(full, subifds=levels - 1, **options)
        for level in range(1, levels):
            step = 2**level
            writer.write(
                full[::step, ::step], subfiletype=1, tile=(32, 32), photometric="minisblack"
            )
    with open_image(path) as source:
        assert source.levels == tuple((256 >> level, 192 >> level) for level in range(levels))
        for level in range(levels):
            step = 2**level
            np.testing.assert_array_equal(source.read(level).pixels[..., 0], full[::step, ::step])
            np.testing.assert_array_equal(
                source.read_window(9, 3, 40, 33, level)[..., 0],
                full[::step, ::step][9:49, 3:36],
            )


def write_ome_zarr(path: Path, data: np.ndarray, axes: str, version: str, **options: Any) -> Path:
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    y = axes.index("y")
    datasets = []
    for level in range(2):
        step = 2**level
        index = tuple(slice(None, None, step if axis in "yx" else 1) for axis in axes)
        part = data[index]
        array = group.create_array(
            str(level),
            shape=part.shape,
            chunks=(*(1,) * y, 16, 16),
            dtype=part.dtype,
            **options,
        )
        array[...] = part
        scale = [0.5 * step if axis in "yx" else 1.0 for axis in axes]
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    kinds = {"t": "time", "c": "channel"}
    named: list[dict[str, str]] = []
    for axis in axes:
        entry = {"name": axis, "type": kinds.get(axis, "space")}
        named.append(entry | ({"unit": "micrometer"} if entry["type"] == "space" else {}))
    multiscales = [{"axes": named, "datasets": datasets, "name": "cells"}]
    omero = {"channels": [{"label": "DAPI"}, {"label": "actin"}]}
    if version == "0.4":
        group.attrs.update(
            {"multiscales": [{**multiscales[0], "version": version}], "omero": omero}
        )
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales, "omero": omero}
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    data = stack(2, 3, 40, 32)
    path = write_ome_zarr(tmp_path / "a.zarr", data, "czyx", version)
    image = read_image(path, PlaneSelection(channel=("actin",), z=2))
    np.testing.assert_array_equal(image.pixels[..., 0], data[1, 2])
    assert image.pixel_size_um == (0.5, 0.5) and image.channels == ("actin",)
    with open_image(path, PlaneSelection(channel=(0,), z="max")) as source:
        assert source.levels == ((40, 32), (20, 16)) and source.size_hw == (40, 32)
        np.testing.assert_array_equal(
            source.read_window(7, 3, 20, 25)[..., 0], data[0].max(axis=0)[7:27, 3:28]
        )
        reduced = source.read(1)
        np.testing.assert_array_equal(reduced.pixels[..., 0], data[0].max(axis=0)[::2, ::2])
        assert reduced.pixel_size_um == (1.0, 1.0)
    with pytest.raises(ImageError, match=r"2 channels \(DAPI, actin\), 3 z"):
        read_image(path)


@pytest.mark.parametrize("compressors", ["auto", None, "blosc"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_damaged_ome_zarr(tmp_path: Path, version: str, compressors: Any) -> None:
    if compressors == "blosc":
        compressors = numcodecs.Blosc() if version == "0.4" else zarr.codecs.BloscCodec()
    path = write_ome_zarr(
        tmp_path / "a.zarr", stack(40, 32), "yx", version, compressors=compressors
    )
    chunks = [
        file
        for file in (path / "0").rglob("*")
        if file.is_file() and not file.name.startswith((".z", "zarr.json"))
    ]
    assert len(chunks) == 6
    whole = chunks[2].read_bytes()
    chunks[2].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"a\.zarr"):
        read_image(path)
    for chunk in chunks:
        chunk.unlink()
    with pytest.raises(ImageError, match="none of its chunks"):
        read_image(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ImageError, match="no OME-Zarr image"):
        read_image(tmp_path / "folder")


def test_arrays() -> None:
    generator = np.random.default_rng(0)
    for shape, channels in (
        ((6, 5), ("gray",)),
        ((6, 5, 1), ("0",)),
        ((6, 5, 3), ("red", "green", "blue")),
    ):
        array = generator.integers(0, 255, shape, dtype=np.uint8)
        image = read_image(array)
        np.testing.assert_array_equal(image.pixels, array.reshape(6, 5, -1))
        assert image.channels == channels
    for count in (2, 4, 5):
        array = generator.random((6, 5, count))
        with pytest.raises(ImageError, match=f"{count} channels"):
            read_image(array)
        np.testing.assert_array_equal(
            read_image(array, PlaneSelection(channel=(1, 0))).pixels, array[..., 1::-1]
        )
    volume = generator.random((4, 6, 5))
    np.testing.assert_array_equal(
        read_image(volume, PlaneSelection(z=3), axes="ZYX").pixels[..., 0], volume[3]
    )
    np.testing.assert_array_equal(
        read_image(volume[0] > 0.5).pixels[..., 0], (volume[0] > 0.5) * 255
    )
    for wrong in (
        np.zeros(5),
        np.zeros((2, 2, 2, 2)),
        np.zeros((2, 2), complex),
        np.zeros((2, 2), "U3"),
    ):
        with pytest.raises(ImageError, match="array"):
            read_image(wrong)


def test_arguments_of_commands() -> None:
    parser = argparse.ArgumentParser()
    add_plane_arguments(parser)
    assert selection_from(parser.parse_args([])) == PlaneSelection()
    args = parser.parse_args(
        ["--channel", "DAPI,2", "--z", "max", "--t", "3", "--scene", "1", "--planes", "each"]
    )
    assert selection_from(args) == PlaneSelection(("DAPI", 2), "max", 3, 1, "each")
    args = parser.parse_args(["--z", "4", "--scene", "well", "--planes", "7"])
    assert selection_from(args) == PlaneSelection(None, 4, None, "well", 7)
