"""OME-Zarr labels, read by zarr and held against NGFF's schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04.image_label import ImageLabel as ImageLabel04
from ome_zarr_models.v05.image import Image as Image05
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.export import WRITERS, label_map
from cellseg_mmdet.images import PlaneSelection, open_image, read_image
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction
from tests.export.scenes import CLASSES, HEIGHT, PIXEL_SIZE_UM, WIDTH, prediction, write


def labels_in(group: zarr.Group, level: int = 0) -> np.ndarray:
    array = group[str(level)]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[:])


def image_zarr(path: Path, version: str, axes: str = "yx", name: str = "", levels: int = 1) -> Path:
    """Write an image of the scene's size, as the writers of others do; its levels are rounded down."""
    root = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    group = root.create_group(name) if name else root
    names = tuple(axes) if version == "0.5" else None
    space = {"type": "space", "unit": "micrometer"}
    units = [{"name": axis, **({"type": "channel"} if axis == "c" else space)} for axis in axes]
    datasets = []
    for level in range(levels):
        sides = {"c": 2, "z": 4, "y": HEIGHT >> level, "x": WIDTH >> level}
        shape = tuple(sides[axis] for axis in axes)
        group.create_array(str(level), data=np.full(shape, 40, np.uint8), dimension_names=names)
        size = [side * 2**level for side in PIXEL_SIZE_UM]
        scale = {"type": "scale", "scale": [*[2.0] * (len(axes) - 2), *size]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    content = {"multiscales": [{"axes": units, "datasets": datasets}]}
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", **content}
    else:
        content["multiscales"][0]["version"] = "0.4"
        group.attrs.update(content)
    return path


def written_inside(out_dir: Path, path: Path, plane: str | None = None) -> Path:
    writer = WRITERS.get("ome-zarr")(place="inside")
    writer.open(out_dir, CLASSES)
    key = ImageKey(str(path), plane=plane, name="a")
    (target,) = writer.write(prediction(), Picture(key))
    return target


def test_labels_beside_are_what_the_schema_says(tmp_path: Path) -> None:
    written = write("ome-zarr", tmp_path, prediction())
    assert written.files == {
        tmp_path
        / "ome-zarr": "1 OME-Zarr label image; 4 pixels that cells share went to the one with the higher score"
    }
    root = zarr.open_group(tmp_path / "ome-zarr/a.zarr", mode="r")
    labels = Labels.from_zarr(root["labels"])
    assert labels.attributes.ome.labels == ["cells"]
    cells = root["labels/cells"]
    model = ImageLabel.from_zarr(cells)
    assert model.attributes.ome.image_label is not None
    assert model.attributes.ome.image_label.version == "0.5"
    np.testing.assert_array_equal(labels_in(cells), label_map(prediction()))
    properties = cells.attrs["ome"]["image-label"]["properties"]
    assert properties[1] == {"label-value": 2, "class": CLASSES[1], "score": 0.5}


def test_labels_are_read_by_the_reader_of_images(tmp_path: Path) -> None:
    write("ome-zarr", tmp_path, prediction())
    with open_image(tmp_path / "ome-zarr/a.zarr/labels/cells") as source:
        assert source.pixel_size_um == PIXEL_SIZE_UM
        np.testing.assert_array_equal(source.read().pixels[..., 0], label_map(prediction()))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_inside_an_image_leave_it_as_it_was(tmp_path: Path, version: str) -> None:
    path = image_zarr(tmp_path / "image.zarr", version)
    before = read_image(path)
    target = written_inside(tmp_path / "out", path)
    assert target == path / "labels/cells"
    group = zarr.open_group(target, mode="r")
    assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
    (ImageLabel if version == "0.5" else ImageLabel04).from_zarr(group)
    np.testing.assert_array_equal(labels_in(group), label_map(prediction()))
    about = group.attrs["ome"] if version == "0.5" else group.attrs
    assert about["image-label"]["source"] == {"image": "../../"}
    assert about["multiscales"][0]["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": list(PIXEL_SIZE_UM)}
    ]
    after = read_image(path)
    np.testing.assert_array_equal(after.pixels, before.pixels)
    if version == "0.5":
        Image05.from_zarr(zarr.open_group(path, mode="r"))
    assert sorted(path.name for path in (path / "labels").glob("*/")) == ["cells"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("chosen", ["key", "selection"])
def test_labels_of_a_plane_have_the_axes_and_the_levels_of_the_image_and_lie_on_it(
    tmp_path: Path, version: str, chosen: str
) -> None:
    path = image_zarr(tmp_path / "image.zarr", version, axes="czyx", levels=3)
    if chosen == "key":
        target = written_inside(tmp_path / "out", path, "z3")
    else:
        writer = WRITERS.get("ome-zarr")(place="inside", pixel_size_um=(9.0, 9.0))
        writer.open(tmp_path / "out", CLASSES)
        picture = Picture(ImageKey(str(path), name="a"), PlaneSelection(channel=(0,), z=3))
        (target,) = writer.write(prediction(), picture)
    assert target == path / "labels/cells_z3"
    group = zarr.open_group(target, mode="r")
    (ImageLabel if version == "0.5" else ImageLabel04).from_zarr(group)
    about = group.attrs["ome"] if version == "0.5" else group.attrs
    (multiscale,) = about["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "z", "y", "x"]
    # NGFF: as many levels as the image has; along an axis that does not matter labels are 1 long.
    for level, dataset in enumerate(multiscale["datasets"]):
        shape = (1, 1, HEIGHT >> level, WIDTH >> level)
        assert group[dataset["path"]].shape == shape
        scale, translation = dataset["coordinateTransformations"]
        assert scale["scale"] == [2.0, 2.0, *(side * 2**level for side in PIXEL_SIZE_UM)]
        assert translation == {"type": "translation", "translation": [0.0, 6.0, 0.0, 0.0]}
    assert len(multiscale["datasets"]) == 3
    np.testing.assert_array_equal(labels_in(group)[0, 0], label_map(prediction()))
    with open_image(target) as source:
        np.testing.assert_array_equal(source.read().pixels[..., 0], label_map(prediction()))


def test_planes_have_labels_of_their_own_and_those_of_others_stay(tmp_path: Path) -> None:
    path = image_zarr(tmp_path / "image.zarr", "0.5", axes="zyx")
    other = zarr.open_group(path / "labels", mode="w", zarr_format=3)
    other.create_group("nuclei")
    other.attrs["ome"] = {"version": "0.5", "labels": ["nuclei"]}
    for plane in ("z1", "z3", "z1"):
        written_inside(tmp_path / "out", path, plane)
    labels = zarr.open_group(path / "labels", mode="r")
    assert labels.attrs["ome"]["labels"] == ["nuclei", "cells_z1", "cells_z3"]
    assert sorted(name for name, _ in labels.groups()) == ["cells_z1", "cells_z3", "nuclei"]
    assert read_image(path, PlaneSelection(z=0)).size_hw == (HEIGHT, WIDTH)


def test_an_image_of_another_format_has_its_labels_beside(tmp_path: Path) -> None:
    write("ome-zarr", tmp_path, prediction(), place="inside")
    assert (tmp_path / "ome-zarr/a.zarr/labels/cells/zarr.json").is_file()


def test_a_file_of_several_images_is_refused(tmp_path: Path) -> None:
    path = image_zarr(tmp_path / "image.zarr", "0.5", name="0")
    with pytest.raises(DataError, match=r"image\.zarr: holds several images"):
        written_inside(tmp_path / "out", path)
    with pytest.raises(ConfigError, match="place='below'"):
        WRITERS.get("ome-zarr")(place="below")


def test_levels_are_taken_at_even_pixels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    label_map_ = random.integers(0, 50, (70, 110)).repeat(10, axis=0).repeat(10, axis=1)
    masks = Runs.from_label_map(label_map_)
    count = len(masks)
    found = ImagePrediction(
        "a", 1, 700, 1100, masks.boxes, np.ones(count), np.zeros(count, int), masks
    )
    write("ome-zarr", tmp_path, found)
    group = zarr.open_group(tmp_path / "ome-zarr/a.zarr/labels/cells", mode="r")
    full = labels_in(group)
    np.testing.assert_array_equal(full, label_map(found))
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [one["path"] for one in datasets] == ["0", "1", "2", "3"]
    for number, dataset in enumerate(datasets):
        np.testing.assert_array_equal(labels_in(group, number), full[:: 2**number, :: 2**number])
        (transform,) = dataset["coordinateTransformations"]
        assert transform["scale"] == [side * 2**number for side in PIXEL_SIZE_UM]


def test_a_second_run_takes_the_place_of_the_first_and_leaves_nothing_else(tmp_path: Path) -> None:
    write("ome-zarr", tmp_path, prediction())
    write("ome-zarr", tmp_path, prediction().select(np.array([0])))
    root = zarr.open_group(tmp_path / "ome-zarr/a.zarr", mode="r")
    assert labels_in(root["labels/cells"]).max() == 1
    assert [path.name for path in (tmp_path / "ome-zarr").iterdir()] == ["a.zarr"]


def test_no_cells_at_all(tmp_path: Path) -> None:
    write("ome-zarr", tmp_path, prediction().select(np.zeros(0, int)))
    root = zarr.open_group(tmp_path / "ome-zarr/a.zarr", mode="r")
    ImageLabel.from_zarr(root["labels/cells"])
    assert not labels_in(root["labels/cells"]).any()
