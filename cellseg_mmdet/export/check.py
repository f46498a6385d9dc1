"""Every fault of a submission file, found before it is submitted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cellseg_mmdet.annotations.csv_rows import open_lines, parse_csv, undecodable
from cellseg_mmdet.annotations.submissions import FORMATS, SubmissionFormat
from cellseg_mmdet.errors import DataError, quoted, shortened
from cellseg_mmdet.images import files_by_stem, image_size_hw
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.parsing import parse_strings
from cellseg_mmdet.masks.shared import overlaps


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        row: line number in the file as an editor shows it (the header is 1); None if the file lacks
            something.
        image_id: image it is about; None if it is not about one.
        message: what was found and what is allowed.

    Example:
        >>> print(Fault(3, "a", "ends past the image"))
        row 3, image a: ends past the image
    """

    row: int | None
    image_id: str | None
    message: str

    def __str__(self) -> str:
        where = [f"row {self.row}"] if self.row is not None else []
        where += [f"image {self.image_id}"] if self.image_id is not None else []
        return shortened(f"{shortened(', '.join(where), 300) or 'file'}: {self.message}")


class _Cell(NamedTuple):
    row: int
    image_id: str
    text: str

    def fault(self, message: str) -> Fault:
        return Fault(self.row, self.image_id, message)


def check_submission(
    path: str | os.PathLike[str], images_dir: str | os.PathLike[str], format: str
) -> list[Fault]:
    """Return every fault of a submission file in the order of its rows, missing images last.

    Of a malformed mask the first wrong pair is named; such a mask is left out of the search for
    overlaps.

    Args:
        images_dir: the images that the submission must be about: ``<id>.png``, or
            ``<id>/images/<id>.png``.
        format: a name of `FORMATS`.

    Raises:
        FileNotFoundError, NotADirectoryError: if file or folder do not exist.
        DataError: if there is no image in the folder, or one that cannot be read; for an unknown
            format.

    Example:
        >>> import cv2
        >>> Path("images").mkdir()
        >>> cv2.imwrite("images/a.png", np.zeros((2, 4), np.uint8))
        True
        >>> with Path("s.csv").open("w") as file:
        ...     print("id,predicted", "a,7 3", sep=chr(10), file=file)
        >>> for fault in check_submission("s.csv", "images", "sartorius"):
        ...     print(fault)
        row 2, image a: pair 1 (7 3): ends at pixel 9, past the end; the image has 8 pixels (image of 2 x 4 pixels)
    """
    layout = FORMATS.get(format)()
    images = find_images(images_dir)
    faults: list[Fault] = []
    rows_of: dict[str, list[_Cell]] = {}
    for cell in _read_cells(path, layout, faults):
        rows_of.setdefault(cell.image_id, []).append(cell)
    for image_id, cells in rows_of.items():
        if image_id in images:
            faults += _check_image(cells, image_size_hw(images[image_id]), layout)
        else:
            rows = "" if len(cells) == 1 else f" ({len(cells)} rows, to row {cells[-1].row})"
            faults.append(
                Fault(cells[0].row, image_id, f"there is no such image in {images_dir}{rows}")
            )
    faults.sort(key=lambda fault: fault.row or 0)
    faults += [
        Fault(None, image_id, "no row; an image without cells needs one with an empty string")
        for image_id in images
        if image_id not in rows_of
    ]
    return faults


def find_images(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the images of a folder by id: ``<id>.png`` or else ``<id>/images/<id>.png``.

    Raises:
        NotADirectoryError: if there is no such folder.
        DataError: if it holds no image.
    """
    images = files_by_stem(folder)
    if not images:
        for inner in sorted(Path(folder).glob("*/images")):
            images.update(files_by_stem(inner))
    if not images:
        raise DataError(f"{folder} holds no images")
    return images


def _read_cells(
    path: str | os.PathLike[str], layout: SubmissionFormat, faults: list[Fault]
) -> Iterator[_Cell]:
    """Yield the rows that have an id and a mask; faults of the others are put into ``faults``."""
    image_id = ""
    with open_lines(path, keep_mark=True) as lines:
        row = 0
        for row, fields, fault in parse_csv(_decoded(lines, faults)):
            if fault:
                faults.append(Fault(row, None, fault))
            elif row == 1:
                faults += _check_header(fields, layout)
            elif len(fields) != 2:
                found = (
                    f"{len(fields)} column{'s' * (len(fields) > 1)}" if fields else "a blank line"
                )
                faults.append(
                    Fault(row, None, f"{found}; a row has the 2 columns {','.join(layout.header)}")
                )
            else:
                # Rows of an image stand together: its id is kept once.
                image_id = image_id if image_id == fields[0] else fields[0]
                yield _Cell(row, image_id, fields[1])
    if not row:
        faults += _check_header([], layout)


def _decoded(lines: Iterable[str], faults: list[Fault]) -> Iterator[str]:
    for row, line in enumerate(lines, start=1):
        fault = "" if line.isascii() else undecodable(line)
        if fault:
            faults.append(Fault(row, None, fault))
            line = line.encode("utf-8", "surrogateescape").decode("utf-8", errors="replace")
        yield line


def _check_header(fields: Sequence[str], layout: SubmissionFormat) -> list[Fault]:
    if tuple(fields) == layout.header:
        return []
    found, allowed = ",".join(fields), ",".join(layout.header)
    return [Fault(1, None, f"the header is {quoted(found, 500)}; it must be {allowed!r}")]


def _check_image(
    cells: Sequence[_Cell], size_hw: tuple[int, int], layout: SubmissionFormat
) -> list[Fault]:
    """Return the faults of all rows of one image of ``size_hw`` pixels."""
    faults: list[Fault] = []
    empty = [cell for cell in cells if not cell.text.strip()]
    faults += [cell.fault("the mask is white space; leave it empty") for cell in empty if cell.text]
    if len(empty) < len(cells):
        faults += [
            cell.fault("empty mask, though other rows of this image hold cells") for cell in empty
        ]
    else:
        message = f"row {empty[0].row} says already that this image has no cells"
        faults += [cell.fault(message) for cell in empty[1:]]

    kept, masks = _parse_masks(
        [cell for cell in cells if cell.text.strip()], size_hw, layout, faults
    )
    return faults + _check_overlaps(kept, masks)


def _parse_masks(
    cells: Sequence[_Cell], size_hw: tuple[int, int], layout: SubmissionFormat, faults: list[Fault]
) -> tuple[list[_Cell], Runs]:
    """Return the rows whose masks are well-formed, and their masks; the others go to ``faults``."""
    texts = [cell.text for cell in cells]
    masks, causes = parse_strings(texts, *size_hw, order=layout.order)
    faults += [
        cells[index].fault(f"{cause} (image of {size_hw[0]} x {size_hw[1]} pixels)")
        for index, cause in causes.items()
    ]
    return [cell for index, cell in enumerate(cells) if index not in causes], masks


def _check_overlaps(cells: Sequence[_Cell], masks: Runs) -> list[Fault]:
    """Return one fault for each pair of rows that share pixels, or each row with earlier ones, at the later row."""
    return [
        cells[overlap.later].fault(overlap.told(f"row {cells[overlap.earlier].row}"))
        for overlap in overlaps(masks)
    ]
