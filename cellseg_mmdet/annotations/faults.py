"""What is wrong with an annotation file, entry by entry, and the two policies for it: stop, or leave out and count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from cellseg_mmdet.errors import DataError, shortened
from cellseg_mmdet.fields import FieldError

OnError = Literal["stop", "skip"]

_NUM_SHOWN = 4
_LONGEST = 320
_LONGEST_TEXT = 1600


@dataclass(frozen=True)
class Fault:
    """One entry of an annotation file that cannot be used.

    Attributes:
        entry: what it is, as ``annotation 9``.
        image: name of the image that it is about, '' where it is not known.
        reason: what kind of fault it is, in a few words; they are counted by it.
        cause: what was found and what is allowed.
    """

    entry: str
    image: str
    reason: str
    cause: str

    def __str__(self) -> str:
        image = f" of {self.image}" if self.image and self.image not in self.entry else ""
        return shortened(f"{self.entry}{image}: {self.cause}", _LONGEST)


class AnnotationError(DataError):
    """Entries of an annotation file that cannot be used.

    Attributes:
        faults: every one, not only those that the message shows.
    """

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.faults = faults
        if len(faults) == 1:
            text = f"{source}: {faults[0]}"
        else:
            lines = [f"  {fault}" for fault in faults[:_NUM_SHOWN]]
            more = len(faults) - len(lines)
            lines += [f"  ... and {more} more"] if more else []
            reasons = counted(Counter(fault.reason for fault in faults))
            text = f"{source}: {len(faults)} entries cannot be used ({reasons}):\n" + "\n".join(
                lines
            )
        super().__init__(
            f"{shortened(text, _LONGEST_TEXT)}\nMend the file; or leave such entries out: --on-error skip of "
            "cellseg convert, evaluate, report, submit, ensemble and tune, on_error='skip' of the data set and the "
            "metric in a config"
        )


class Faults:
    """Gathers the faults of one file, and what is left out of it although nothing is wrong with it.

    Attributes:
        source: the file.
        found: the faults, in the order in which they were found.
        left_out: how many entries were left out, by reason, that are no faults.
        notes: sentences about the file that a user should see.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[Fault] = []
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []

    def add(self, entry: str, reason: str, cause: str, image: str = "") -> None:
        """Enter a fault."""
        self.found.append(Fault(entry, image, reason, cause))

    @contextmanager
    def of(self, entry: str, image: str = "") -> Iterator[None]:
        """Enter a `FieldError` of the block as a fault of ``entry``."""
        try:
            yield
        except FieldError as error:
            self.add(entry, error.reason, str(error), image)

    def whole_file(self, cause: str) -> DataError:
        """Return the error for what no policy can leave out."""
        return DataError(f"{self.source}: {cause}")

    def settle(self, on_error: OnError) -> list[str]:
        """Return what the log should say.

        Raises:
            AnnotationError: there are faults and they are not to be skipped.
        """
        if self.found and on_error == "stop":
            raise AnnotationError(self.source, self.found)
        said = []
        if self.found:
            reasons = counted(Counter(fault.reason for fault in self.found))
            said.append(
                f"{self.source}: entries left out that cannot be used: {len(self.found)} ({reasons}); "
                f"the first: {self.found[0]}"
            )
        if self.left_out:
            number = self.left_out.total()
            said.append(f"{self.source}: annotations left out: {number} ({counted(self.left_out)})")
        return said + [f"{self.source}: {note}" for note in self.notes]


def counted(counts: Counter[str]) -> str:
    """Return counts in words, the most frequent first.

    Example:
        >>> counted(Counter({"no mask": 2, "no pixel in the image": 5}))
        '5 no pixel in the image, 2 no mask'
    """
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
