"""Submission files: one row per cell with its image and its run-length encoded mask."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cellseg_mmdet.annotations.submissions import FORMATS, SubmissionFormat
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.export.writer import WRITERS, Writer, Written
from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.postprocess import RemoveOverlaps
from cellseg_mmdet.structures import ImagePrediction


@dataclass(frozen=True)
class SubmissionSummary:
    """What a submission file holds.

    Attributes:
        num_images: images.
        num_cells: rows with a mask.
        num_images_without_cells: rows with an empty string.
        num_pixels_removed: pixels that masks lost because another cell of the image had them as
            well.
    """

    num_images: int
    num_cells: int
    num_images_without_cells: int
    num_pixels_removed: int

    def __str__(self) -> str:
        return (
            f"{self.num_images} images, {self.num_cells} cells, "
            f"{self.num_images_without_cells} images without cells"
        )


def write_submission(
    path: str | os.PathLike[str], predictions: Iterable[ImagePrediction], format: str
) -> SubmissionSummary:
    """Write a submission file, whole or not at all.

    Images stand in the order given, the cells of an image by descending score. No two cells of an
    image share a pixel: what the predictions share goes to the higher score (see `RemoveOverlaps`).

    Args:
        format: a name of `annotations.submissions.FORMATS`.

    Raises:
        ConfigError: for an unknown format.
        DataError: for an image that comes twice.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> print(write_submission("submission.csv", [found], "sartorius"))
        1 images, 2 cells, 0 images without cells
        >>> print(Path("submission.csv").read_text())
        id,predicted
        a,2 2
        a,1 1
    """
    layout = FORMATS.get(format)()
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=ESCAPED, newline="") as file,
    ):
        rows = _Rows(file, layout)
        for prediction in predictions:
            rows.add(prediction)
    return rows.summary


@WRITERS.register("submission")
class SubmissionWriter(Writer):
    """``submission.csv``, as `write_submission` writes it.

    Args:
        format: a name of `annotations.submissions.FORMATS`.

    Attributes:
        summary: what was written so far.

    Raises:
        ConfigError: for an unknown format.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> from cellseg_mmdet.structures import ImageKey
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> writer = SubmissionWriter("dsb2018")
        >>> writer.open("out", ("cell",))
        >>> writer.add(found, Picture(ImageKey("a.png")))
        >>> writer.close().files
        {PosixPath('out/submission.csv'): 'submission in dsb2018 format'}
    """

    def __init__(self, format: str = "sartorius") -> None:
        super().__init__()
        self.format = format
        self._layout = FORMATS.get(format)()

    @property
    def summary(self) -> SubmissionSummary:
        return self._rows.summary

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        self._path = Path(out_dir) / "submission.csv"
        self._rows = _Rows(self.open_file(self._path), self._layout)

    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        self._rows.add(prediction)

    def close(self) -> Written:
        self.finish()
        return Written({self._path: f"submission in {self.format} format"})


class _Rows:
    """The rows of a submission, image by image."""

    def __init__(self, file: IO[str], layout: SubmissionFormat) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(layout.header)
        self._order = layout.order
        self._remove_overlaps = RemoveOverlaps()
        self._seen: set[str] = set()
        self.summary = SubmissionSummary(0, 0, 0, 0)

    def add(self, prediction: ImagePrediction) -> None:
        if prediction.image_id in self._seen:
            raise DataError(
                f"image {prediction.image_id!r} comes twice: a submission must list it once"
            )
        self._seen.add(prediction.image_id)
        final = self._remove_overlaps(prediction)
        strings = final.masks[final.by_descending_score()].to_strings(order=self._order)
        self._writer.writerows((prediction.image_id, string) for string in strings or [""])
        before, removed = self.summary, prediction.masks.areas.sum() - final.masks.areas.sum()
        self.summary = SubmissionSummary(
            before.num_images + 1,
            before.num_cells + len(strings),
            before.num_images_without_cells + (not strings),
            before.num_pixels_removed + int(removed),
        )
