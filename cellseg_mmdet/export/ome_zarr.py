"""Label images as OME-Zarr: NGFF 0.5, or 0.4 within an image of that version. https://ngff.openmicroscopy.org/0.5/"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from cellseg_mmdet.errors import DataError, shown
from cellseg_mmdet.export.identity import class_name, class_rgb
from cellseg_mmdet.export.label_maps import LabelWriter, Overlaps
from cellseg_mmdet.export.writer import WRITERS
from cellseg_mmdet.fileio import ESCAPED, atomic_write, load_json, staged_folder
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.images.sources.ome_zarr import is_zarr
from cellseg_mmdet.masks.label_bands import LabelBands
from cellseg_mmdet.postprocess.parameters import check_choice
from cellseg_mmdet.structures import ImagePrediction

# zarr takes 0.4 s to import, which no command should that writes none.
if TYPE_CHECKING:
    import zarr

Place = Literal["beside", "inside"]
PLACES: tuple[str, ...] = get_args(Place)
_NAME = "cells"
_CHUNK_PX = 1024
# What a group of Zarr is told by, of version 3 and 2.
_GROUP_FILES = {"zarr.json", ".zgroup", ".zattrs"}
# Levels are added until one fits into a tile of viewers.
_SMALLEST_PX = 256


@WRITERS.register("ome-zarr")
class OmeZarrWriter(LabelWriter):
    """OME-Zarr labels (NGFF 0.5): uint32, a pyramid by nearest neighbour, colours, classes and scores of the cells.

    ``beside``: ``ome-zarr/NAME.zarr/labels/cells`` for each image. ``inside``: ``labels/cells`` in the image's own
    OME-Zarr, ``labels/cells_z3`` for a plane of a stack; labels of this name that are there are replaced, others stay.
    Images of other formats have theirs beside.

    Args:
        overlaps: who gets a pixel of several cells, see `label_map`.
        place: 'beside' or 'inside'.
        pixel_size_um: height and width of a pixel, in place of what the images say.

    Raises:
        ConfigError: another value of one of them.
    """

    folder = "ome-zarr"
    what = "OME-Zarr label image"

    def __init__(
        self,
        overlaps: Overlaps = "score",
        place: Place = "beside",
        pixel_size_um: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(overlaps, pixel_size_um)
        check_choice("place", place, PLACES)
        self.place: Place = place

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        path = Path(picture.key.path)
        is_inside = self.place == "inside" and path.is_dir() and is_zarr(path)
        if is_inside:
            image = _image_group(path, picture)
            version = _version_of(image)
            plane = _plane_of(picture)
            name, source = "_".join([_NAME, *([plane] if plane else [])]), "../../"
        else:
            image = self.path_of(prediction, ".zarr")
            version, name, source = "0.5", _NAME, None
        labels = self.labels_of(prediction)
        frame = (
            _Frame.of_image(image, picture.plane_indices)
            if is_inside
            else _Frame.of_labels(labels.shape, self.size_um(picture))
        )
        about = _cells(prediction, self.classes, version, source)
        target = image / "labels" / name
        if source is None:
            # The whole folder is ours: it appears when it is complete.
            with staged_folder(image) as staged:
                _write_group(staged, version, {})
                _write_group(staged / "labels", version, {"labels": [name]})
                _write_labels(staged / "labels" / name, labels, frame, version, about)
                _publish(staged, image)
        else:
            listed = _labels_listed(image / "labels", version)
            with staged_folder(target) as staged:
                _write_labels(staged, labels, frame, version, about)
                _publish(staged, target)
            if name not in listed:
                _write_group(image / "labels", version, {"labels": [*listed, name]})
        return [image if source is None else target]


@dataclass(frozen=True)
class _Frame:
    """Where labels lie: their axes, and shape and transformations of each level.

    Attributes:
        axes: as NGFF has them, y and x among them.
        shapes: of each level, 1 along all axes but y and x.
        transforms: ``coordinateTransformations`` of each level, and
        whole: of all of them; none for most.
    """

    axes: Sequence[Mapping[str, Any]]
    shapes: Sequence[tuple[int, ...]]
    transforms: Sequence[Sequence[Mapping[str, Any]]]
    whole: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of_labels(cls, size_hw: Sequence[int], pixel_size_um: tuple[float, float] | None) -> _Frame:
        """Return that of labels without an image: each level is half as large as the one before."""
        axes = [{"name": axis, "type": "space"} for axis in "yx"]
        if pixel_size_um is not None:
            axes = [{**axis, "unit": "micrometer"} for axis in axes]
        shapes = [(size_hw[0], size_hw[1])]
        while max(shapes[-1]) > _SMALLEST_PX:
            height, width = shapes[-1]
            shapes.append(((height + 1) // 2, (width + 1) // 2))
        steps = [
            [side * 2**number for side in pixel_size_um or (1.0, 1.0)]
            for number in range(len(shapes))
        ]
        return cls(axes, shapes, [[{"type": "scale", "scale": step}] for step in steps])

    @classmethod
    def of_image(cls, group: Path, plane: Mapping[str, int]) -> _Frame:
        """Return that of labels of a plane of an image: as many levels, of the same axes and the same sizes.

        NGFF demands the former. Along axes that the labels do not tell apart they are 1 long, and a translation puts
        them onto their plane.

        Raises:
            DataError: the image has no axes or transformations, as before NGFF 0.4.
        """
        multiscale = _attributes(group)["multiscales"][0]
        axes, datasets = multiscale.get("axes", ()), multiscale["datasets"]
        names = [axis.get("name") for axis in axes if isinstance(axis, Mapping)]
        transforms = [dataset.get("coordinateTransformations", ()) for dataset in datasets]
        if not {"y", "x"} <= set(names) or not all(transforms):
            raise DataError(
                f"{group}: its metadata has no axes or no transformations, as before NGFF 0.4; leave out --place inside"
            )
        import zarr

        shapes = []
        for dataset in datasets:
            array = zarr.open_array(str(group / dataset["path"]), mode="r")
            shapes.append(
                tuple(
                    side if name in ("y", "x") else 1
                    for name, side in zip(names, array.shape, strict=True)
                )
            )
        first = next(one["scale"] for one in transforms[0] if one["type"] == "scale")
        at = [plane.get(str(name).upper(), 0) if name in ("z", "t") else 0 for name in names]
        shift = [index * step for index, step in zip(at, first, strict=True)]
        return cls(
            axes,
            shapes,
            [_shifted(one, shift) for one in transforms],
            multiscale.get("coordinateTransformations", ()),
        )


def _shifted(
    transforms: Sequence[Mapping[str, Any]], shift: Sequence[float]
) -> list[Mapping[str, Any]]:
    """Return a scale and, where it is not 0, a translation, moved by ``shift``."""
    scale = next(one for one in transforms if one["type"] == "scale")
    offset = next(
        (one["translation"] for one in transforms if one["type"] == "translation"),
        [0.0] * len(shift),
    )
    moved = [one + other for one, other in zip(offset, shift, strict=True)]
    return [scale, *([{"type": "translation", "translation": moved}] if any(moved) else [])]


def _plane_of(picture: Picture) -> str:
    """Return the plane of a stack that labels are of, as ``t0_z3``; '' for a picture that is none."""
    if picture.key.plane:
        return picture.key.plane
    sizes, at = picture.stack_sizes, picture.plane_indices
    return "_".join(
        f"{axis.lower()}{at[axis]}" for axis in "TZ" if axis in at and sizes.get(axis, 1) > 1
    )


def _image_group(path: Path, picture: Picture) -> Path:
    """Return the folder of the multiscale image that a picture is of, in a file that may hold several.

    Raises:
        DataError: it holds several; their labels would be mixed up.
    """
    if picture.key.scene is not None or "multiscales" not in _attributes(path):
        raise DataError(
            f"{picture.key}: holds several images, whose labels cannot be put inside yet; leave out --place inside"
        )
    return path


def _attributes(group: Path) -> Mapping[str, Any]:
    """Return the NGFF metadata of a group; none where there is no file of it."""
    path = group / "zarr.json"
    is_new = path.is_file()
    if not is_new:
        path = group / ".zattrs"
    found = load_json(path) if path.is_file() else {}
    for key in ("attributes", "ome") if is_new else ():
        found = found.get(key, {}) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise DataError(f"{path}: its metadata are {shown(found)}; they must be an object")
    return found


def _version_of(group: Path) -> str:
    return "0.5" if (group / "zarr.json").is_file() else "0.4"


def _labels_listed(group: Path, version: str) -> list[str]:
    """Return the names of the labels that there are."""
    found = _attributes(group).get("labels", []) if group.is_dir() else []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{group}: its labels are {shown(found)}; they must be a list of names")
    return found


def _write_group(group: Path, version: str, about: Mapping[str, Any]) -> None:
    """Write the metadata of a group: zarr 3 for NGFF 0.5, zarr 2 for 0.4."""
    if version == "0.5":
        ome = {"version": version, **about}
        content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
        _write_json(group / "zarr.json", content)
    else:
        _write_json(group / ".zgroup", {"zarr_format": 2})
        _write_json(group / ".zattrs", about)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8", errors=ESCAPED
        )


def _write_labels(
    folder: Path, labels: LabelBands, frame: _Frame, version: str, about: Mapping[str, Any]
) -> None:
    """Write a label image with its levels by nearest neighbour: of half the size, the even rows and columns."""
    names = [axis["name"] for axis in frame.axes]
    y, x = names.index("y"), names.index("x")
    datasets: list[dict[str, Any]] = []
    for number, (shape, transforms) in enumerate(zip(frame.shapes, frame.transforms, strict=True)):
        array = _create(folder / str(number), shape, names, version)
        rows, columns = (
            _taken(side, shape[axis]) for axis, side in zip((y, x), labels.shape, strict=True)
        )
        for begin in range(0, shape[y], _CHUNK_PX):
            band = _picked(labels, rows[begin : begin + _CHUNK_PX], columns)
            place: list[int | slice] = [0] * len(shape)
            place[y], place[x] = slice(begin, begin + _CHUNK_PX), slice(None)
            array[tuple(place)] = band if y < x else band.T
        datasets.append({"path": str(number), "coordinateTransformations": list(transforms)})
    multiscale = {
        "name": _NAME,
        "axes": list(frame.axes),
        "datasets": datasets,
        "type": "nearest",
        **({"coordinateTransformations": list(frame.whole)} if frame.whole else {}),
    }
    if version == "0.4":
        multiscale["version"] = version
    _write_group(folder, version, {"multiscales": [multiscale], "image-label": about})


def _picked(labels: LabelBands, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return some rows and columns of a label map, painting no more of it at a time than a row of chunks."""
    num_parts = -(-int(rows[-1] + 1 - rows[0]) // _CHUNK_PX)
    parts = []
    for some in np.array_split(rows, num_parts):
        band = labels.rows(int(some[0]), int(some[-1]) + 1)
        parts.append(band[some - some[0]][:, columns])
    return np.concatenate(parts)


def _taken(length: int, count: int) -> np.ndarray:
    """Return which of so many pixels a level of ``count`` takes: every second one, whichever way its length is rounded.

    Example:
        >>> _taken(5, 2).tolist(), _taken(5, 3).tolist(), _taken(2, 4).tolist()
        ([0, 2], [0, 2, 4], [0, 0, 1, 1])
    """
    step = max(round(length / count), 1)
    if count in (length // step, -(-length // step)):
        return np.arange(count) * step
    return np.arange(count) * length // count


def _create(path: Path, shape: Sequence[int], names: Sequence[str], version: str) -> zarr.Array:
    import zarr
    from zarr.codecs import ZstdCodec

    is_new = version == "0.5"
    return zarr.create_array(
        store=str(path),
        shape=tuple(shape),
        chunks=tuple(min(side, _CHUNK_PX) for side in shape),
        dtype=np.uint32,
        zarr_format=3 if is_new else 2,
        dimension_names=tuple(names) if is_new else None,
        compressors=ZstdCodec(level=3) if is_new else "auto",
        chunk_key_encoding={"name": "default" if is_new else "v2", "separator": "/"},
        fill_value=0,
    )


def _cells(
    prediction: ImagePrediction, classes: tuple[str, ...], version: str, source: str | None
) -> dict[str, Any]:
    """Return the metadata ``image-label``: a colour by class, and class and score as properties."""
    ids, labels = prediction.cell_ids.tolist(), prediction.labels.tolist()
    about: dict[str, Any] = {
        "version": version,
        "colors": [
            {"label-value": number, "rgba": [*class_rgb(label), 255]}
            for number, label in zip(ids, labels, strict=True)
        ],
        "properties": [
            {"label-value": number, "class": class_name(label, classes), "score": score}
            for number, label, score in zip(ids, labels, prediction.scores.tolist(), strict=True)
        ],
    }
    if not ids:
        # The schema wants one entry at least where there is the list.
        del about["colors"], about["properties"]
    if source is not None:
        about["source"] = {"image": source}
    return about


def _publish(staged: Path, target: Path) -> None:
    """Put a staged folder in the place of one that may be there, or of a link to one.

    Raises:
        DataError: what is there is no group of Zarr, and may be of worth to somebody.
        NotADirectoryError: it is a file.
    """
    is_there = target.exists() and not target.is_symlink()
    if is_there and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    inside = {path.name for path in target.iterdir()} if is_there else set()
    if inside and not inside & _GROUP_FILES:
        raise DataError(
            f"{target} is there, and no OME-Zarr but a folder with {', '.join(sorted(inside)[:3])}: it is not "
            "replaced; remove it, or write to another folder"
        )
    umask = os.umask(0)
    os.umask(umask)
    staged.chmod(0o777 & ~umask)  # that of a temporary one is for its owner alone
    if target.is_symlink():
        target.unlink()
    if is_there:
        old = staged.with_name(f"{staged.name}.old")  # which the next run removes after a kill
        target.rename(old)
        staged.rename(target)
        shutil.rmtree(old)
    else:
        staged.rename(target)
    staged.mkdir()  # which the end of staging removes
