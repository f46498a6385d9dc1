"""Rows of a data set that cannot be used: reported all together, or written to a file and left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellseg_mmdet.annotations.faults import OnError as OnError
from cellseg_mmdet.errors import DataError, shortened

_NUM_SHOWN = 10
# Of characters; what a message leaves out of a row stands in rejected.csv.
_LONGEST_LINE = 400
_LONGEST_LIST = 1600


@dataclass(frozen=True)
class Rejected:
    """One row, or one file, that cannot be used.

    Attributes:
        source: file the row stands in.
        row: line number in that file as an editor shows it, None where the whole file is meant.
        image_id: image the row belongs to, '' if unknown.
        cause: what was found and what is allowed.
        content: the row as it stands in the file.
    """

    source: str
    row: int | None
    image_id: str
    cause: str
    content: str = ""

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        image = f", image {self.image_id}" if self.image_id else ""
        return f"{self.source}{row}{image}: {self.cause}"


class DataSetError(DataError):
    """Raised for rows that cannot be used, unless they are to be skipped.

    Attributes:
        rejected: every such row, not only those that the message shows.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        self.rejected = list(rejected)
        lines: list[str] = []
        for reject in rejected[:_NUM_SHOWN]:
            line = shortened(str(reject), _LONGEST_LINE)
            if lines and sum(map(len, lines)) + len(line) > _LONGEST_LIST:
                break
            lines.append(line)
        if len(rejected) > len(lines):
            lines.append(f"... and {len(rejected) - len(lines)} more")
        count = "1 fault" if len(rejected) == 1 else f"{len(rejected)} faults"
        super().__init__(
            f"{count} found, nothing was written:\n  "
            + "\n  ".join(lines)
            + "\nMend the input, or leave these rows "
            "out with --on-error skip: every one of them is then listed in rejected.csv."
        )
