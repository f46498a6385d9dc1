"""What a command line tells in one line; any other exception is a fault of the program and shows its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# A value of a damaged file may be the rest of it.
MAX_MESSAGE = 2000


def shortened(text: str, max_length: int = MAX_MESSAGE) -> str:
    """Cut the middle out of a text that is too long: what is wrong stands at its begin, the remedy at its end.

    Example:
        >>> shortened("a" * 50 + "b" * 50, 60)
        'aaaaaaaaaaaaaaaaa[... 68 characters ...]bbbbbbbbbbbbbbb'
    """
    if len(text) <= max_length:
        return text
    kept = max_length - 30  # what is put in has fewer
    begin, end = kept - kept // 2 + 2, kept // 2
    return f"{text[:begin]}[... {len(text) - begin - end} characters ...]{text[len(text) - end :]}"


def shown(value: object, max_length: int = 100) -> str:
    """Return a value as a message shows it: its ``repr``, shortened.

    Example:
        >>> shown("cort")
        "'cort'"
    """
    if isinstance(value, str | bytes):  # the repr of all of it is not needed
        value = value if len(value) <= 4 * max_length else value[: 4 * max_length]
    try:
        return shortened(repr(value), max_length)
    except (
        RecursionError,
        ValueError,
    ):  # nested absurdly deep, or an integer of thousands of digits
        return f"a {type(value).__name__}"


class CellsegError(Exception):
    """The root of all errors whose message is all that a user needs; it is `MAX_MESSAGE` characters long at most.

    Example:
        >>> str(DataError("train.csv, row 3: the id is empty"))
        'train.csv, row 3: the id is empty'
    """

    def __str__(self) -> str:
        return shortened(super().__str__())


class UsageError(CellsegError):
    """Arguments that do not go together with the config, the files or the machine."""


class ConfigError(CellsegError):
    """A value in a config, or a name looked up in a registry, that is not allowed."""


class DataError(CellsegError):
    """A file that cannot be used: damaged, of another layout, or at odds with another one."""


class MaskError(DataError):
    """An encoded mask that cannot be decoded.

    Attributes:
        cause: what was found and what is allowed.
        instance: index of the mask among those that were decoded together; None for a single one.
    """

    def __init__(self, cause: str, instance: int | None = None) -> None:
        cause = shortened(cause)
        super().__init__(cause if instance is None else f"instance {instance}: {cause}")
        self.cause = cause
        self.instance = instance

    def __reduce__(self) -> tuple[type[MaskError], tuple[str, int | None]]:
        # Exceptions come back from worker processes by their arguments.
        return type(self), (self.cause, self.instance)


class ImageError(DataError):
    """A picture that cannot be read right: names the file, the cause (codec, sample type, size) and a remedy."""


class CheckpointError(CellsegError):
    """A checkpoint that cannot be read."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that asks for more than weights and mmengine's own records."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which extra of the package brings a library that is imported in the block and is not installed.

    Raises:
        UsageError: a library is missing.

    Example:
        >>> with needs("plot"):
        ...     import no_such_library
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.UsageError: no_such_library is not installed: pip install "cellseg_mmdet[plot]" brings it
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f'{error.name} is not installed: pip install "cellseg_mmdet[{extra}]" brings it'
        ) from error
