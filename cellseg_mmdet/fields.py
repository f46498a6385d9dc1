"""Values of files of annotations and predictions: of which type and range they have to be, whatever the layout.

Numbers may be those of numpy, as pickles hold them; a whole number may be written as ``100.0``. Text is never read as
a number, nor true or false as 1 or 0 where a number is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError, shown

# Counts of COCO RLEs are of 32 bits, in the tools of others if not in ours.
MAX_PIXELS = 2**31
# Of boxes, which reach beyond the image now and then: float32 still tells pixels apart by the thousand.
_MAX_COORDINATE = 2.0**31
_LONGEST_TEXT = 1000
# Halves of characters cannot be written to any file, nor can names of files hold what controls a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

_MAX_ID = 2**63

Identifier = int | str


class FieldError(DataError):
    """A value that cannot be used; who reads the file says whose it is.

    Attributes:
        reason: what kind of fault it is, in a few words; faults are counted by it.
    """

    def __init__(self, reason: str, cause: str) -> None:
        super().__init__(cause)
        self.reason, self.cause = reason, cause

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, str]]:
        # Exceptions come back from worker processes by their arguments.
        return type(self), (self.reason, self.cause)


def required(entry: Mapping[str, Any], key: str) -> Any:
    """Return a value that must be there.

    Raises:
        FieldError: it is not.
    """
    try:
        return entry[key]
    except KeyError:
        raise FieldError(f"no {key}", f"no {key!r}") from None


def whole(value: Any, name: str, *, low: int = 0, high: int = 2**63 - 1) -> int:
    """Return a whole number from ``low`` to ``high``.

    Raises:
        FieldError: it is none.

    Example:
        >>> whole(100.0, "height", low=1)
        100
        >>> whole("100", "height", low=1)
        Traceback (most recent call last):
        ...
        cellseg_mmdet.fields.FieldError: height is '100' (text); it must be a whole number from 1
    """
    if type(value) is int and low <= value <= high:
        return value
    if is_number(value) and low <= value <= high and value == int(value):
        return int(value)
    limit = "" if high == 2**63 - 1 else f" to {high}"
    raise FieldError(
        f"{name} is no number that is allowed",
        f"{name} is {shown(value)}; it must be a whole number from {low}{limit}",
    )


def is_number(value: Any) -> bool:
    """Return whether this is a number, and not true or false."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def identifier(value: Any, name: str) -> Identifier:
    """Return an id: a whole number, or text.

    Raises:
        FieldError: it is neither.
    """
    if type(value) is int and -_MAX_ID <= value < _MAX_ID:
        return value
    if isinstance(value, str):
        return text(value, name)
    # Beyond 2 ** 53 two ids may be the same float.
    if is_number(value) and abs(value) < 2**53 and value == int(value):
        return int(value)
    raise FieldError(
        f"{name} is no id", f"{name} is {shown(value)}; it must be a whole number or a text"
    )


def text(value: Any, name: str) -> str:
    """Return a text that is not empty.

    Raises:
        FieldError: it is none, or none that a name may be.
    """
    if (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_TEXT
        and value.strip()
        and not _UNPRINTABLE.search(value)
    ):
        return str(value)
    raise FieldError(
        f"{name} is no name",
        f"{name} is {shown(value)}; it must be a text of 1 to {_LONGEST_TEXT} characters, none of control",
    )


def optional_text(value: Any, name: str) -> str | None:
    """Return a text, None where there is none; a whole number becomes text.

    Raises:
        FieldError: it is something else.
    """
    if value is None or value == "":
        return None
    if is_number(value):
        return str(whole(value, name))
    return text(value, name)


def flag(value: Any, name: str) -> bool:
    """Return whether a flag is set: 0 or 1, true or false, null for not.

    Raises:
        FieldError: it is something else.
    """
    if value is None:
        return False
    if isinstance(value, bool | np.bool_ | Real) and value in (0, 1):
        return bool(value)
    raise FieldError(f"{name} is no flag", f"{name} is {shown(value)}; it must be 0 or 1")


def box(value: Any, name: str, meaning: str) -> list[Any]:
    """Return the four numbers of a box, as they are.

    Args:
        meaning: of the numbers, for the message: ``[x, y, width, height]``.

    Raises:
        FieldError: they are not four finite numbers.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if type(value) is list or isinstance(value, Sequence):
        try:
            x, y, right, bottom = value
        except ValueError:
            pass
        else:
            for number in (x, y, right, bottom):
                # NaN is on neither side of a limit.
                if type(number) is not int and type(number) is not float and not is_number(number):
                    break
                if not -_MAX_COORDINATE <= number <= _MAX_COORDINATE:
                    break
            else:
                return [x, y, right, bottom]
    raise FieldError(
        f"{name} is no box", f"{name} is {shown(value)}; it must be {meaning}, four finite numbers"
    )


def size_hw(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return ``height`` and ``width`` of an image in pixels.

    Raises:
        FieldError: one is missing or no number from 1, or they are more pixels than an image can have.
    """
    height = whole(required(entry, "height"), "height", low=1)
    width = whole(required(entry, "width"), "width", low=1)
    if height * width >= MAX_PIXELS:
        raise FieldError(
            "image too large",
            f"height {height} and width {width} are more than the {MAX_PIXELS} pixels that an image can have",
        )
    return height, width


def names(value: Any, name: str) -> tuple[str, ...]:
    """Return class names, each once; a text alone is one class.

    Raises:
        FieldError: they are none.

    Example:
        >>> names("cell", "classes"), names(["astro", "cort"], "classes")
        (('cell',), ('astro', 'cort'))
    """
    if isinstance(value, str):
        return (text(value, name),)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise FieldError(
            f"{name} are no names", f"{name} are {shown(value)}; allowed is a list of names"
        )
    found = tuple(text(one, f"a name of {name}") for one in value)
    twice = [one for one in found if found.count(one) > 1] if len(set(found)) < len(found) else []
    if twice:
        raise FieldError(f"{name} twice", f"{name} name {twice[0]!r} twice")
    return found
