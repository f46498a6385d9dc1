"""Submission files: one row per cell with its image and its run-length encoded mask."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass

from cellseg_mmdet.annotations.submissions import FORMATS
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import atomic_write
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
        DataError: for an unknown format, or an image that comes twice.
    """
    layout = FORMATS.get(format)()
    remove_overlaps = RemoveOverlaps()
    seen: set[str] = set()
    num_cells = num_empty = num_removed = 0
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(layout.header)
        for prediction in predictions:
            if prediction.image_id in seen:
                raise DataError(
                    f"image {prediction.image_id!r} comes twice: a submission must list it once"
                )
            seen.add(prediction.image_id)
            final = remove_overlaps(prediction)
            strings = final.masks[final.by_descending_score()].to_strings(order=layout.order)
            writer.writerows((prediction.image_id, string) for string in strings or [""])
            num_cells += len(strings)
            num_empty += not strings
            num_removed += int(prediction.masks.areas.sum() - final.masks.areas.sum())
    return SubmissionSummary(len(seen), num_cells, num_empty, num_removed)
