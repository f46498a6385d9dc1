"""Cells in files of every kind, read as predictions or as truth: the one place that tells the kinds apart.

| kind | is told by | scores | post-processing |
|---|---|---|---|
| dump of raw predictions | ``.pkl`` with a list | yes | that of the config |
| dump of final predictions, of ``cellseg infer`` | the same, with ``final_classes`` in its entries | yes | - |
| annotations | ``.json`` with an object, ``.pkl`` with a dict | no | - |
| COCO results | ``.json`` with a list | yes | - |
| csv of cells: a submission, a train.csv | ``.csv`` | no | - |
| label images | a folder | no | - |
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cellseg_mmdet.annotations import LAYOUTS
from cellseg_mmdet.annotations.cell_csv import ANY_CELL, CellTable, is_csv, read_cell_table
from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.annotations.files import to_records
from cellseg_mmdet.annotations.validate import read_checked
from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.evaluation.coco_results import CocoIndex, index_beside, read_results
from cellseg_mmdet.evaluation.label_folders import read_label_folder
from cellseg_mmdet.evaluation.scoring import records_by_image_id
from cellseg_mmdet.fileio import check_is_file, load_json
from cellseg_mmdet.structures import (
    ImagePrediction,
    ImageRecord,
    from_records,
    load_dump,
)

PathLike = str | os.PathLike[str]
Postprocess = Callable[[ImagePrediction], ImagePrediction]
SizesHW = Mapping[str, tuple[int, int]]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """What one file lacks and others know.

    Attributes:
        sizes_hw: height and width of images by id.
        index: what the ids of COCO results mean.
        classes: in the order of the labels of a dump.
        postprocess: of a dump.
    """

    sizes_hw: SizesHW = field(default_factory=dict)
    index: CocoIndex | None = None
    classes: tuple[str, ...] | None = None
    postprocess: Postprocess | None = None


class CellSource(Protocol):
    """Cells of a file or folder.

    Attributes:
        title: what it is.
        is_raw: whether post-processing is still to come.
        has_scores: whether the cells have scores.
        says_types: whether it says of which class its cells are.
        classes: in the order of the labels of `predictions`; None where only others know.
        sizes_hw: of the images that it says the size of.
        index: what ids of COCO results mean, where it says that.
    """

    title: str
    is_raw: bool
    has_scores: bool
    says_types: bool
    classes: tuple[str, ...] | None
    sizes_hw: SizesHW
    index: CocoIndex | None

    def predictions(self, context: Context) -> list[ImagePrediction]:
        """Return the cells as predictions.

        Raises:
            DataError: the context does not know what the file lacks.
        """

    def records(self, context: Context) -> list[ImageRecord]:
        """Return the cells as truth; errors are those of `predictions`."""


@dataclass
class _Source:
    title: str
    is_raw: bool = False
    has_scores: bool = False
    says_types: bool = False
    classes: tuple[str, ...] | None = None
    sizes_hw: SizesHW = field(default_factory=dict)
    index: CocoIndex | None = None


@dataclass
class TableSource(_Source):
    """A csv file with a row for each cell."""

    table: CellTable = field(kw_only=True)

    def predictions(self, context: Context) -> list[ImagePrediction]:
        return from_records(self.records(context))

    def records(self, context: Context) -> list[ImageRecord]:
        return self.table.to_records(context.sizes_hw)


@dataclass
class RecordSource(_Source):
    """Annotations, or label images."""

    content: list[ImageRecord] = field(kw_only=True)

    def predictions(self, context: Context) -> list[ImagePrediction]:
        return from_records(self.content, self.classes)

    def records(self, context: Context) -> list[ImageRecord]:
        return self.content


@dataclass
class DumpSource(_Source):
    """Raw predictions, or final ones, which say their classes."""

    content: list[ImagePrediction] = field(kw_only=True)

    def predictions(self, context: Context) -> list[ImagePrediction]:
        return self.content

    def records(self, context: Context) -> list[ImageRecord]:
        postprocess = context.postprocess if self.is_raw else None
        finals = map(postprocess, self.content) if postprocess else self.content
        return as_records(list(finals), self.classes or context.classes)


@dataclass
class ResultSource(_Source):
    """COCO results."""

    path: str = field(kw_only=True)
    content: list[Any] = field(kw_only=True)
    on_error: OnError = field(kw_only=True)
    tell: Callable[[str], Any] = field(kw_only=True)

    def predictions(self, context: Context) -> list[ImagePrediction]:
        index = self.index or context.index
        found, said = read_results(self.content, self.path, index, self.on_error)
        for sentence in said:
            self.tell(sentence)
        return found

    def records(self, context: Context) -> list[ImageRecord]:
        index = self.index or context.index
        return as_records(self.predictions(context), None if index is None else index.classes)


def read_source(
    path: PathLike, *, on_error: OnError = "stop", tell: Callable[[str], Any] | None = None
) -> CellSource:
    """Read a file or folder of cells, of whatever kind.

    Args:
        path: of the file or folder.
        on_error: 'skip' leaves entries out that cannot be used, of annotations and COCO results.
        tell: is called with what was left out; by default it is logged as a warning.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is of no kind that is known, or damaged; the message names it.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("cells.csv").write_text("id,predicted\\na,1 2\\n")
        >>> read_source("cells.csv").title
        'csv of cells'
    """
    tell = tell or _LOG.warning
    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    check_is_file(path)
    if Path(path).is_dir():
        records = read_label_folder(path)
        return RecordSource(
            "label images", classes=(ANY_CELL,), sizes_hw=_sizes_of(records, path), content=records
        )
    if is_csv(path):
        table = read_cell_table(path)
        return TableSource(
            "csv of cells", says_types=table.says_types, sizes_hw=table.sizes_hw, table=table
        )
    suffix = Path(path).suffix.lower()
    if suffix == ".json" and _begins_list(path):
        index = index_beside(path)
        return ResultSource(
            "COCO results",
            has_scores=True,
            says_types=index is not None,
            classes=None if index is None else index.classes,
            sizes_hw={} if index is None else _sizes_in(index),
            index=index,
            path=os.fspath(path),
            content=load_json(path),
            on_error=on_error,
            tell=tell,
        )
    if suffix in (".pkl", ".pickle") and not _is_annotation_pickle(path):
        dump = load_dump(path)
        sizes = {image.image_id: (image.height, image.width) for image in dump.predictions}
        return DumpSource(
            f"dump of {'final' if dump.is_final else 'raw'} predictions",
            is_raw=not dump.is_final,
            has_scores=True,
            says_types=True,
            classes=dump.classes,
            sizes_hw=sizes,
            content=dump.predictions,
        )
    if suffix not in {known for name in LAYOUTS.names() for known in LAYOUTS.get(name)().suffixes}:
        raise DataError(
            f"{path}: cells are read from .json (COCO annotations or results), .pkl (annotations or a dump of "
            "predictions), .csv (a submission or train.csv), or a folder of label images"
        )
    checked = read_checked(path, on_error=on_error)
    for sentence in checked.said:
        tell(sentence)
    records = to_records(checked)
    return RecordSource(
        "annotations",
        says_types=True,
        classes=checked.classes,
        sizes_hw=_sizes_of(records, path),
        index=CocoIndex.of(checked, os.fspath(path)) if checked.category_ids else None,
        content=records,
    )


def read_predictions(
    path: PathLike, *, sizes_hw: SizesHW | None = None, on_error: OnError = "stop"
) -> list[ImagePrediction]:
    """Return the cells of a file or folder of any kind as predictions; without scores they all have 1.

    Args:
        path: of the file or folder.
        sizes_hw: height and width of images by id, which a submission does not say.
        on_error: as in `read_source`.

    Raises:
        DataError: as `read_source`, or the sizes of images are not known.
    """
    return read_source(path, on_error=on_error).predictions(Context(sizes_hw=sizes_hw or {}))


def as_records(
    predictions: Sequence[ImagePrediction], classes: tuple[str, ...] | None
) -> list[ImageRecord]:
    """Return predictions as truth: what has no pixel is left out; without class names all cells are of one.

    Raises:
        DataError: a label is of no class.
    """
    records = []
    for found in predictions:
        cells = found.select(np.flatnonzero(found.masks.areas > 0))
        if classes is None:
            categories = (ANY_CELL,) * len(cells)
        elif len(cells) and not (cells.labels.min() >= 0 and cells.labels.max() < len(classes)):
            raise DataError(
                f"{found.image_id}: a cell of label {cells.labels.max()}, but there are the {len(classes)} classes "
                f"{', '.join(classes)}"
            )
        else:
            categories = tuple(classes[label] for label in cells.labels.tolist())
        # Planes of a stack share its path: what names a record has to be told apart.
        is_named = Path(found.img_path).stem == found.image_id
        name = found.img_path if is_named else f"{found.image_id}.png"
        records.append(ImageRecord(name, found.height, found.width, cells.masks, categories))
    return records


def needs_config(path: PathLike) -> UsageError:
    """Return the error for raw predictions without a config."""
    return UsageError(
        f"{path} holds raw predictions: --config must name the file with their "
        "post-processing and classes"
    )


def known_sizes(context: Context, *sources: CellSource) -> Context:
    """Return a context that knows the sizes of the sources as well, and what their ids mean."""
    sizes: dict[str, tuple[int, int]] = dict(context.sizes_hw)
    for source in sources:
        sizes |= source.sizes_hw
    indices = [source.index for source in sources if source.index is not None]
    return replace(context, sizes_hw=sizes, index=context.index or next(iter(indices), None))


def _sizes_of(records: Sequence[ImageRecord], path: PathLike) -> SizesHW:
    return {
        image_id: (record.height, record.width)
        for image_id, record in records_by_image_id(records, os.fspath(path)).items()
    }


def _sizes_in(index: CocoIndex) -> SizesHW:
    return {image.name: image.size_hw for image in index.images.values()}


def _begins_list(path: PathLike) -> bool:
    """Return whether the first character of a JSON file opens a list."""
    with Path(path).open("rb") as file:
        return file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _is_annotation_pickle(path: PathLike) -> bool:
    """Return whether a pickle opens a dict, as annotations of mmdet 3.x do, and not the list of a dump."""
    with Path(path).open("rb") as file:
        head = file.read(16)
    # The protocol (and from 4 on a frame), then the first object: '}' is a dict, '(d' one of protocol 0.
    body = head[2:] if head[:1] == b"\x80" else head
    body = body[9:] if body[:1] == b"\x95" else body
    return body[:1] == b"}" or body[:2] == b"(d"
