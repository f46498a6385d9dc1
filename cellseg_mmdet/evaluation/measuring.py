"""The cells of a file or folder of any kind, measured in their images one after the other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.config_content import class_names, read_config
from cellseg_mmdet.errors import DataError, UsageError, quoted
from cellseg_mmdet.evaluation.sources import (
    CellSource,
    Context,
    TableSource,
    needs_config,
    read_source,
)
from cellseg_mmdet.images import PlaneSelection, find_images, image_size_hw, open_image
from cellseg_mmdet.measure import Measurements, MeasureOptions, measure_image
from cellseg_mmdet.measure.summary import reserved_names
from cellseg_mmdet.postprocess import Pipeline
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImageKey, ImagePrediction, safe_name

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class MeasuringTask:
    """Cells that are measured, and the images that they are in.

    Attributes:
        predictions: the cells, image by image.
        classes: names by label; None where nothing says them.
        pictures: name of an image -> which it is; none to measure shapes alone.
        groups: name of an image -> column -> value.
        selection: planes of stacks.
        options: of the measuring.
        postprocess: of raw predictions.
    """

    predictions: Sequence[ImagePrediction]
    classes: tuple[str, ...] | None
    pictures: Mapping[str, ImageKey]
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    selection: PlaneSelection | None = None
    options: MeasureOptions = field(default_factory=MeasureOptions)
    postprocess: Pipeline | None = None

    def measured(self) -> Iterator[tuple[ImagePrediction, Measurements]]:
        """Yield the final cells of each image and their table; one image at a time is read.

        Raises:
            DataError: an image is not of the size of its cells, or a label is of no class.
            ImageError: an image cannot be read.
        """
        for raw in progress_bar(self.predictions, description="measure"):
            found = raw if self.postprocess is None else self.postprocess(raw)
            groups = self.groups.get(found.image_id, {})
            if not self.pictures:
                yield found, measure_image(found, self.classes, options=self.options, groups=groups)
                continue
            picture = _picture_of(found, self.pictures)
            if picture is None:
                raise DataError(f"there is no image of the cells of {quoted(found.image_id)}")
            with open_image(picture, self.selection) as source:
                table = measure_image(
                    found, self.classes, source, options=self.options, groups=groups
                )
            yield found, table


def read_measuring_task(
    predictions: PathLike,
    images: Sequence[PathLike] = (),
    *,
    config: PathLike | None = None,
    postprocess: bool = True,
    group: str | None = None,
    recursive: bool = False,
    selection: PlaneSelection | None = None,
    options: MeasureOptions | None = None,
    on_error: OnError = "stop",
) -> MeasuringTask:
    """Read the cells of a file or folder of any kind of `sources`, and find their images.

    Args:
        predictions: what is measured.
        images: files and folders; without any, shapes alone are measured.
        config: of a dump of raw predictions: its `postprocess` list and class names.
        postprocess: whether that list is applied; without it a dump needs no config, and classes are called by their
            labels.
        group: regular expression that is searched in the path of each image: named groups become columns of their
            names; without names the first group, or all that is matched, the column 'group'.
        recursive: search sub-folders for images as well.
        selection: planes of stacks.
        options: of the measuring.
        on_error: 'skip' leaves entries out that cannot be used.

    Raises:
        FileNotFoundError: a file does not exist.
        UsageError: a dump needs a config; the expression is none, names a column that there is, or fits the path of
            an image nowhere.
        DataError: the cells cannot be read, or an image of them is not there.
    """
    pattern = None if group is None else compiled_groups(group)
    source = read_source(predictions, on_error=on_error)
    parsed = None if config is None else read_config(config)
    if source.is_raw and postprocess and parsed is None:
        raise needs_config(predictions)
    keys = find_images(images, recursive=recursive, selection=selection) if images else []
    pictures = {key.name: key for key in keys}
    sizes_hw = dict(source.sizes_hw)
    if isinstance(source, TableSource):
        unknown = [name for name in source.table.images if name not in sizes_hw]
        sizes_hw |= {
            name: image_size_hw(pictures[name], selection) for name in unknown if name in pictures
        }
    context = Context(sizes_hw=sizes_hw)
    classes = class_names(parsed) if source.is_raw and parsed is not None else None
    found = source.predictions(context)
    if not source.is_raw:
        classes = source.classes or _classes_of(source, context)
    if pictures:
        for one in found:
            if _picture_of(one, pictures) is None:
                raise DataError(
                    f"{predictions}: its image {quoted(one.image_id)} is not among the {len(pictures)} images of "
                    f"{', '.join(map(str, images))}; there are {', '.join(list(pictures)[:5])}"
                )
    groups = {}
    if pattern is not None:
        for one in found:
            picture = _picture_of(one, pictures)
            path = picture.path if picture else one.img_path or one.image_id
            groups[one.image_id] = groups_in(pattern, path)
    return MeasuringTask(
        found,
        classes,
        pictures,
        groups,
        selection,
        options or MeasureOptions(),
        pipeline_from_config(parsed) if source.is_raw and postprocess and parsed else None,
    )


def _picture_of(found: ImagePrediction, pictures: Mapping[str, ImageKey]) -> ImageKey | None:
    """Return the picture of cells; its name is one that a file may have, whatever the image is called elsewhere."""
    return pictures.get(found.image_id) or pictures.get(safe_name(found.image_id))


def _classes_of(source: CellSource, context: Context) -> tuple[str, ...] | None:
    """Return the classes of a source that names them cell by cell; None where nobody says them."""
    if source.has_scores:
        return None if context.index is None else context.index.classes
    named = {name for record in source.records(context) for name in record.categories}
    return tuple(sorted(named))  # the order in which its labels count


def compiled_groups(group: str) -> re.Pattern[str]:
    """Return the expression that takes columns from the paths of images, see `read_measuring_task`.

    Raises:
        UsageError: it is none, empty, or names a column that there is.
    """
    if not group:
        raise UsageError(
            "--group: the expression is empty; leave it out, or say what to find in the paths"
        )
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UsageError(f"--group {group}: no regular expression: {error}") from None
    taken = sorted(set(pattern.groupindex) & reserved_names())
    if taken:
        raise UsageError(
            f"--group {pattern.pattern}: there are columns {', '.join(taken)} already; give the groups other names"
        )
    return pattern


def groups_in(pattern: re.Pattern[str], path: str) -> dict[str, str]:
    """Return column -> value, taken from the path of an image.

    Raises:
        UsageError: the expression fits nowhere in it.

    Example:
        >>> groups_in(compiled_groups(r"(?P<plate>p[0-9]+)"), "scan/p3_A1.tif")
        {'plate': 'p3'}
    """
    match = pattern.search(path.replace(os.sep, "/"))
    if match is None:
        raise UsageError(
            f"--group {pattern.pattern} fits nowhere in the name of image {quoted(path)}: give an expression "
            "that fits the names of all images, such as one with |$ at its end"
        )
    if pattern.groupindex:
        return {name: value or "" for name, value in match.groupdict().items()}
    return {"group": (match.group(1) if pattern.groups else match.group(0)) or ""}
