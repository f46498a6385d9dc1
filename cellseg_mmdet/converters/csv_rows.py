"""Tables with a row for each cell: rows with their line numbers, run-length strings parsed together."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from cellseg_mmdet.converters.archives import list_files, read_file
from cellseg_mmdet.converters.pipeline import Row, parse_masks
from cellseg_mmdet.converters.rejects import Rejected
from cellseg_mmdet.masks import PixelOrder, Runs


def read_rows(
    path: str | os.PathLike[str], required: Sequence[str], rejected: list[Rejected]
) -> Iterator[tuple[Row, dict[str, str]]]:
    """Yield the rows of a csv, or of the one csv in a zip archive; those without an id or a value go to ``rejected``.

    Args:
        path: the file; its first line names the columns.
        required: columns that must be there; the first is the image id, which must not be empty.
        rejected: where rows that cannot be used are put.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a required column is missing, the file has no row or is not UTF-8, or the archive is not one of
            one csv.
    """
    reader = csv.reader(io.StringIO(_read_text(path), newline=""))
    header = next(reader, [])
    missing = [name for name in required if name not in header]
    if missing:
        raise ValueError(
            f"{path}: column(s) {', '.join(missing)} missing; the header is {','.join(header)!r}"
        )
    id_at = header.index(required[0])
    is_empty = True
    # The mask of a large image may be longer than the 128 KiB that csv allows by default.
    usual_limit = csv.field_size_limit(2**31 - 1)
    try:
        for values in reader:
            if not values:  # a blank line, as editors leave at the end
                continue
            is_empty = False
            row = Row(reader.line_num, ",".join(values))
            image_id = values[id_at].strip() if id_at < len(values) else ""
            if len(values) == len(header) and image_id:
                yield row, dict(zip(header, values, strict=True))
                continue
            cause = (
                f"{len(values)} values; the header has {len(header)} columns"
                if image_id
                else f"the {required[0]} is empty"
            )
            rejected.append(Rejected(str(path), row.number, image_id, cause, row.content))
    finally:
        csv.field_size_limit(usual_limit)
    if is_empty:
        raise ValueError(f"{path} has a header and no row")


def parse_strings(
    texts: Sequence[str], height: int, width: int, *, order: PixelOrder, clip: bool = False
) -> tuple[Runs, dict[int, str]]:
    """Return the masks of the well-formed ``start length`` strings, and the cause for each other one by its index."""
    parse = partial(Runs.from_strings, height=height, width=width, order=order, clip=clip)
    return parse_masks(parse, texts)


def size_fault(written_hw: tuple[str, str], height: int, width: int) -> str | None:
    """Return what is wrong with a height and width as a row has them, for an image of this size; None if they agree."""
    try:
        # pandas writes 520.0 where a column has empty cells
        if (float(written_hw[0]), float(written_hw[1])) == (height, width):
            return None
    except ValueError:
        pass
    return (
        f"height {written_hw[0] or '(empty)'} and width {written_hw[1] or '(empty)'} differ from the image file's "
        f"{height} x {width}"
    )


def passes_end(text: str, num_pixels: int) -> bool:
    """Return whether a well-formed ``start length`` string reaches beyond the last pixel: whether it was clipped."""
    start, length = text.split()[-2:] if text.strip() else ("0", "0")
    return int(start) + int(length) > num_pixels + 1


def _read_text(path: str | os.PathLike[str]) -> str:
    if Path(path).suffix.lower() == ".zip":
        names = list_files(path)
        if len(names) != 1:
            raise ValueError(f"{path}: expected one csv in the archive, found {names}")
        content = read_file(path, names[0])
    else:
        content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8, as a csv must be: {error}") from error
