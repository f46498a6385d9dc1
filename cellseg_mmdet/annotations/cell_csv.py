"""Cells from a csv file with one row each: a submission, or the competition's train.csv."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cellseg_mmdet.annotations.csv_rows import Row, parse_size_hw, read_table
from cellseg_mmdet.annotations.submissions import FORMATS
from cellseg_mmdet.errors import DataError, MaskError, quoted
from cellseg_mmdet.masks import PixelOrder, Runs
from cellseg_mmdet.structures import ImageRecord

# Those of Sartorius' train.csv that are needed.
TRAIN_CSV_COLUMNS = ("id", "annotation", "width", "height", "cell_type")

# What all cells of a file are called that does not say what they are.
ANY_CELL = "cell"


@dataclass
class _ImageRows:
    """The rows of one image; those without a mask are in none but ``cell_types``."""

    first_row: int
    size_hw: tuple[int, int] | None
    rows: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    cell_types: list[str] = field(default_factory=list)


@dataclass
class CellTable:
    """What such a file holds; masks are read once the sizes of the images are known.

    Attributes:
        path: the file.
        order: how its strings number the pixels.
        images: by image id, in the order of their first rows.
    """

    path: str
    order: PixelOrder
    images: dict[str, _ImageRows]

    @property
    def sizes_hw(self) -> dict[str, tuple[int, int]]:
        """Height and width in pixels of the images whose size the file says."""
        return {image_id: image.size_hw for image_id, image in self.images.items() if image.size_hw}

    @property
    def says_types(self) -> bool:
        """Whether the file says what type its cells are of."""
        return any(image.cell_types for image in self.images.values())

    def to_records(self, sizes_hw: Mapping[str, tuple[int, int]]) -> list[ImageRecord]:
        """Return one record per image.

        Args:
            sizes_hw: height and width of images whose size the file itself does not say.

        Raises:
            DataError: for a malformed mask, or an image of unknown size.
        """
        return [
            self._to_record(image_id, image, sizes_hw) for image_id, image in self.images.items()
        ]

    def _to_record(
        self, image_id: str, image: _ImageRows, sizes_hw: Mapping[str, tuple[int, int]]
    ) -> ImageRecord:
        size_hw = image.size_hw or sizes_hw.get(image_id)
        where = f"{self.path}, row {image.first_row}: image {image_id!r}"
        if size_hw is None and sizes_hw:
            raise DataError(f"{where} is none of the {len(sizes_hw)} images to compare it with")
        if size_hw is None:
            raise DataError(
                f"{where}: its height and width are not known, a submission does not say them; "
                "name the folder of the images (--images)"
            )
        return ImageRecord(
            file_name=f"{image_id}.png",
            height=size_hw[0],
            width=size_hw[1],
            masks=self._masks(image, size_hw),
            categories=tuple(image.categories),
            cell_type=Counter(image.cell_types).most_common(1)[0][0] if image.cell_types else None,
        )

    def _masks(self, image: _ImageRows, size_hw: tuple[int, int]) -> Runs:
        try:
            return Runs.from_strings(image.texts, *size_hw, order=self.order)
        except MaskError as error:
            row = image.first_row if error.instance is None else image.rows[error.instance]
            raise DataError(
                f"{self.path}, row {row}: {error.cause} "
                f"(image of {size_hw[0]} x {size_hw[1]} pixels)"
            ) from error


def is_csv(path: str | os.PathLike[str]) -> bool:
    """Whether a file is taken for such a table: by its name."""
    return Path(path).suffix.lower() == ".csv"


def read_cell_table(path: str | os.PathLike[str]) -> CellTable:
    """Read a submission in any of the `FORMATS`, or a file with the columns of Sartorius' train.csv.

    A row without a mask says that its image has no cells.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is cut off, has other columns, no row, or a row that cannot be used; the
            message names file and row.
    """
    table = read_table(path, whole_lines=True)
    order, image_column, mask_column = _layout(path, table.header)
    described = "cell_type" in table.header
    images: dict[str, _ImageRows] = {}
    for row in table.rows(image_column):
        where = f"{path}, row {row.number}"
        image_id = row[image_column].strip()
        size_hw = _size_hw(row, where) if described else None
        image = images.setdefault(image_id, _ImageRows(row.number, size_hw))
        if image.size_hw != size_hw:
            raise DataError(
                f"{where}: image {image_id!r} is of height and width {size_hw} here, and of "
                f"{image.size_hw} in row {image.first_row}"
            )
        if described:
            image.cell_types.append(row["cell_type"].strip())
        if row[mask_column].strip():
            image.rows.append(row.number)
            image.texts.append(row[mask_column])
            image.categories.append(image.cell_types[-1] if described else ANY_CELL)
    return CellTable(str(path), order, images)


def _layout(path: str | os.PathLike[str], header: Sequence[str]) -> tuple[PixelOrder, str, str]:
    """Return the order of the pixels, and the names of the columns of image and mask."""
    if set(TRAIN_CSV_COLUMNS) <= set(header):
        return "row", "id", "annotation"
    layouts = [FORMATS.get(name)() for name in FORMATS.names()]
    for layout in layouts:
        if layout.header == tuple(header):
            return layout.order, *layout.header
    submissions = ", ".join(repr(",".join(layout.header)) for layout in layouts)
    raise DataError(
        f"{path}: the header is {','.join(header)!r}; that of a submission is one of {submissions}, "
        f"that of a train.csv has the columns {', '.join(TRAIN_CSV_COLUMNS)}"
    )


def _size_hw(row: Row, where: str) -> tuple[int, int]:
    size_hw = parse_size_hw(row["height"], row["width"])
    if size_hw is None:
        raise DataError(
            f"{where}: height {quoted(row['height'])} and width {quoted(row['width'])}; they must be pixels, from 1"
        )
    return size_hw
