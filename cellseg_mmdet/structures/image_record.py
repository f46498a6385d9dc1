"""`ImageRecord`: what every reader of a data set yields and every writer of annotations takes."""

from __future__ import annotations

from dataclasses import dataclass

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs


@dataclass(frozen=True)
class ImageRecord:
    """One image and its cells.

    Attributes:
        file_name: path of the image relative to the image folder.
        height: image height in pixels.
        width: image width in pixels.
        masks: the cells, N instances.
        categories: class name of each cell, N entries.
        cell_type: what the whole image shows, where known; folds are stratified by it and scores reported per it.
        group: images of one group (one well, one patient) never stand on both sides of a split.
    """

    file_name: str
    height: int
    width: int
    masks: Runs
    categories: tuple[str, ...]
    cell_type: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if len(self.masks) != len(self.categories):
            raise DataError(
                f"{self.file_name}: {len(self.masks)} masks but {len(self.categories)} categories"
            )
        if (self.masks.height, self.masks.width) != (self.height, self.width):
            raise DataError(
                f"{self.file_name}: masks of {self.masks.height} x {self.masks.width} pixels "
                f"for an image of {self.height} x {self.width}"
            )
