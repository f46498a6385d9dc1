"""What a command line tells in one line; any other exception is a fault of the program and shows its traceback."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Number
from typing import Any

# What a value of a file is called in messages, which are read by people who may never have seen Python.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "true or false"),
    (str, "text"),
    (bytes, "bytes"),
    (Number, "number"),
    (dict, "object"),
    ((list, tuple), "list"),
)
_LONGEST = 70
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict = 2, 5, 5, 3
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _LONGEST

# A value of a damaged file may be the rest of it.
MAX_MESSAGE = 2000
_LONGEST_PHRASE = 100


def shortened(text: str, length: int = MAX_MESSAGE) -> str:
    """Return a text, without its end if it is too long for a few words, without its middle if for a message.

    What is wrong stands at the begin of a message, the remedy at its end.

    Example:
        >>> shortened("a long text", 9), shortened("short", 9)
        ('a long...', 'short')
        >>> shortened("a" * 99 + "b" * 99, 100)
        'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa[... 126 characters ...]bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'
    """
    if len(text) <= length:
        return text
    if length < _LONGEST_PHRASE:
        return f"{text[: length - 3]}..."
    kept = length - 30  # what is put in has fewer
    begin, end = kept - kept // 2 + 2, kept // 2
    return f"{text[:begin]}[... {len(text) - begin - end} characters ...]{text[len(text) - end :]}"


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


class WorkerError(CellsegError):
    """A worker process that ended without a result: killed, out of memory, or crashed in a library."""


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


def quoted(value: object, length: int = 100) -> str:
    """Return a value of a text file, or of the program, as Python writes it, shortened.

    Example:
        >>> quoted("cort"), quoted("1 2 " * 1000, 12)
        ("'cort'", "'1 2 1 2 ...")
    """
    if isinstance(value, str | bytes):  # the repr of all of it is not needed
        value = value[: 4 * length]
    try:
        return shortened(repr(value), length)
    except (RecursionError, ValueError):  # nested absurdly deep, or thousands of digits
        return f"a {type(value).__name__}"


def shown(value: Any) -> str:
    """Return what a value of a file of typed values looks like and its kind, in less than 100 characters.

    Example:
        >>> shown("5"), shown(5), shown(None), shown([1, 2])
        ("'5' (text)", '5 (number)', 'null', '[1, 2] (list)')
        >>> len(shown([["deep"] * 1000] * 1000)) < 100
        True
    """
    if value is None:
        return "null"
    kind = next((name for types, name in _KINDS if isinstance(value, types)), type(value).__name__)
    try:
        text = " ".join(_REPR.repr(value).split())
    except (ValueError, RecursionError):  # a number of more digits than Python writes, say
        return f"a {kind} that cannot be shown"
    return f"{shortened(text, _LONGEST)} ({kind})"
