"""Pickles of tensors, arrays and plain data, read by an interpreter of our own that knows nothing else.

`pickle_machine` follows the instructions. The few names that files of tensors and arrays refer to stand in a table
here: they are entries of the table, not the objects of Python that they name. What is built with them is built here,
from bytes whose number and values are checked. docs/data_files.md says what is admitted and why it is safe.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError, quoted
from cellseg_mmdet.fileio import fault_of_text
from cellseg_mmdet.pickle_machine import (
    ADMITTED,
    Budget,
    Machine,
    Name,
    Pending,
    PickleFault,
    exactly,
    set_items,
)

# Arrays may share their bytes in a file: all together they have at most so many times the bytes of the file.
_MAX_GROWTH, _ALWAYS_ALLOWED = 4, 1 << 24
_MAX_AXES = 32
_ARRAY_KINDS = "biufcSU"


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of tensors, arrays, plain containers, strings and numbers; tensors come to the CPU.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        DataError: if it is empty, no pickle, cut off, or holds an object of another kind.
    """
    content = Path(path).read_bytes()
    fault = "it is empty" if not content else fault_of_text(content)
    if fault:
        raise DataError(f"{path} is not a pickle of plain data that can be read: {fault}")
    try:
        return loads(content)
    except PickleFault as error:
        raise DataError(
            f"{path} is not a pickle of plain data that can be read: {error}"
        ) from error


def loads(content: bytes) -> Any:
    """Return what a pickle holds.

    Raises:
        PickleFault: see `load_pickle`.
    """
    budget = Budget(_MAX_GROWTH * len(content) + _ALWAYS_ALLOWED)
    machine = Machine(content, _NAMES, budget)
    try:
        result = machine.run()
    except (
        IndexError,
        struct.error,
    ) as error:  # behind the end of the content, or of a list of the machine
        of_list = "list" in str(error)
        cause = "its instructions are damaged" if of_list else "the file is cut off"
        raise PickleFault(cause) from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PickleFault(f"its instructions are damaged: {error}") from error
    if machine.refers_to_names:
        _check_plain(result)
    return result


def _check_plain(result: Any) -> None:
    """Refuse names, types and unfinished arrays that stand among the data."""
    waiting, seen = [result], set()
    while waiting:
        found = waiting.pop()
        kind = type(found)
        if kind in (list, tuple, dict):
            if id(found) not in seen:
                seen.add(id(found))
                waiting += found.values() if kind is dict else found
        elif kind in (Name, _Type, _Unfilled, _Storage):
            name = found.text if kind is Name else "an unfinished object"
            raise PickleFault(f"it holds {name} as a value; allowed are {ADMITTED}")


# ---------------------------------------------------------------- numpy


class _Type(Pending):
    """The type of an array."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def with_state(self, machine: Machine, state: Any) -> _Type:
        """Take the byte order of the state; fields, shapes and metadata of a type are refused."""
        state = exactly(tuple, state)
        if len(state) < 5 or state[0] not in (3, 4) or any(part is not None for part in state[2:5]):
            raise PickleFault("an array of structures")
        if state[1] not in ("<", ">", "=", "|"):
            raise PickleFault(f"byte order {quoted(state[1])}")
        if state[1] != "|":
            self.dtype = self.dtype.newbyteorder(state[1])
        return self

    def settled(self) -> _Type:
        return self


class _Unfilled(Pending):
    """An array whose shape, type and bytes are its state."""

    def __init__(self) -> None:
        self._array: np.ndarray | None = None

    def with_state(self, machine: Machine, state: Any) -> np.ndarray:
        _, shape, kind, is_fortran, data = exactly(tuple, state)
        if (
            type(data) is not bytes
            or type(is_fortran) not in (bool, int)
            or self._array is not None
        ):
            raise PickleFault("an array of objects")
        self._array = _array(machine, data, kind, shape, "F" if is_fortran else "C")
        return self._array

    def settled(self) -> np.ndarray:
        if self._array is None:
            raise PickleFault("an array without its state")
        return self._array


def _dtype(machine: Machine, code: Any = None, align: Any = False, copy: Any = True) -> _Type:
    """Return the type of arrays of numbers, or of text and bytes of one length, all of whose bytes are values."""
    text = exactly(str, code)
    if (
        len(text) > 12
        or text[:1] not in _ARRAY_KINDS
        or not text[1:].isdecimal()
        or not text.isascii()
    ):
        raise PickleFault(f"an array of {quoted(text)}; allowed are numbers and text")
    return _Type(np.dtype(text))


def _array(machine: Machine, data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Return an array of its own bytes, after their number has been checked."""
    dtype = exactly(_Type, kind).dtype
    shape = _sides(shape)
    if order not in ("C", "F"):
        raise PickleFault(f"an array in order {quoted(order)}")
    if type(data) not in (bytes, bytearray) or math.prod(shape) * dtype.itemsize != len(data):
        raise PickleFault(f"an array of shape {shape} and {dtype} from {quoted(data, 40)}")
    machine.budget.take(len(data))
    if not data:
        return np.zeros(shape, dtype, order)
    array = np.frombuffer(bytearray(data), dtype)
    _check_values(array)
    return array.reshape(shape, order=order)


def _check_values(array: np.ndarray) -> None:
    """Refuse values that numpy takes for granted are not there: where it counts them, it writes past its buffers."""
    if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise PickleFault("an array of booleans that are neither 0 nor 1")
    if array.dtype.kind == "U":
        points = array.view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if points.max(initial=0) > 0x10FFFF:
            raise PickleFault("an array of text with characters that there are not")


def _sides(shape: Any) -> tuple[int, ...]:
    sides = (shape,) if type(shape) is int else tuple(exactly(tuple, shape))
    if len(sides) > _MAX_AXES or any(type(side) is not int or side < 0 for side in sides):
        raise PickleFault(f"an array of shape {quoted(shape)}")
    return sides


def _reconstruct(machine: Machine, kind: Any, shape: Any, code: Any) -> _Unfilled:
    if kind is not _NDARRAY:
        raise PickleFault("a kind of array that is not numpy's own")
    return _Unfilled()


def _scalar(machine: Machine, dtype: Any, data: Any) -> Any:
    return _array(machine, data, dtype, (), "C")[()]


def _from_buffer(machine: Machine, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _array(machine, data, dtype, shape, order)


# ---------------------------------------------------------------- bytes, dicts, sizes


def _encode(machine: Machine, text: Any, encoding: Any = None) -> bytes:
    # How protocol 2 writes bytes.
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise PickleFault(f"text to encode as {quoted(encoding)}")
    machine.budget.take(len(text))
    return text.encode("latin1")


def _ordered_dict(machine: Machine, items: Any = ()) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    machine.budget.take(len(items) if type(items) in (list, tuple) else 0)
    for pair in exactly(list, items) if items != () else ():
        set_items(found, list(pair))
    return found


def _bytes(machine: Machine, *arguments: Any) -> bytes:
    if arguments:
        raise PickleFault("bytes of something that is none")
    return b""


def _size(machine: Machine, sides: Any = ()) -> Any:
    import torch

    return torch.Size(_sides(sides))


# ---------------------------------------------------------------- torch


class _Storage:
    """The values that tensors are views of."""

    __slots__ = ("data", "dtype")

    def __init__(self, dtype: str, data: bytes) -> None:
        self.dtype, self.data = dtype, bytearray(data)


# As torch calls the types of its storages; the rest of its types are of quantised and complex numbers.
_STORAGES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
# What a storage begins with: torch's magic number, the version of the layout, and what machine wrote it.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def _storage(machine: Machine, content: Any) -> _Storage:
    """Read a storage as ``torch.save`` writes it without a zip archive, which is how it stands in a pickle.

    Four pickles follow one another: magic number, version, machine, a reference to the storage (its type and number of
    values); then the list of the keys of storages, here of one; then the number of values and the values.
    """
    content = exactly(bytes, content)
    budget = Budget(len(content))
    inner = Machine(content, _STORAGE_NAMES, budget, _referenced)
    magic, version, about, reference, keys = (inner.run() for _ in range(5))
    if magic != _MAGIC or version != _VERSION or type(reference) is not tuple:
        raise PickleFault("a tensor that is not stored as torch does")
    name, key, num_values = reference
    if not isinstance(about, dict) or about.get("little_endian") is not True or keys != [key]:
        raise PickleFault("a tensor that is not stored as torch does, on a little-endian machine")
    dtype, num_bytes = _STORAGES[name]
    (stored,) = struct.unpack_from("<q", content, inner.at)
    data = content[inner.at + 8 :]
    if stored != num_values or num_values < 0 or len(data) != num_values * num_bytes:
        raise PickleFault(f"a tensor of {num_values} values from {len(data)} bytes")
    machine.budget.take(len(data))
    if dtype == "bool":
        _check_values(np.frombuffer(data, np.bool_))
    return _Storage(dtype, data)


def _referenced(reference: Any) -> tuple[str, str, int]:
    kind, storage, key, _, num_values, view = exactly(tuple, reference)
    if kind != "storage" or type(storage) is not Name or view is not None:
        raise PickleFault("a tensor that shares the values of another one")
    if type(num_values) is not int or type(key) is not str:
        raise PickleFault("a tensor of an unknown number of values")
    return storage.text, key, num_values


def _tensor(
    machine: Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Any:
    """Return a tensor, a view of values that are all inside of its storage, and of no more elements than that has."""
    import torch

    storage = exactly(_Storage, storage)
    sides, steps = _sides(tuple(size)), _sides(tuple(stride))
    dtype = getattr(torch, storage.dtype)
    num_values = len(storage.data) // dtype.itemsize
    if type(offset) is not int or offset < 0 or len(sides) != len(steps):
        raise PickleFault(f"a tensor of size {sides} and stride {steps} from {quoted(offset)}")
    if not math.prod(sides):
        return torch.zeros(sides, dtype=dtype)
    last = offset + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if last >= num_values or math.prod(sides) > num_values:
        raise PickleFault(f"a tensor of size {sides} and stride {steps} of {num_values} values")
    whole = torch.frombuffer(storage.data, dtype=dtype)
    return whole.as_strided(sides, steps, offset)


_NDARRAY = Name("numpy.ndarray", None)
_BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "__builtin__.bytes": _bytes,
    "numpy.dtype": _dtype,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.storage._load_from_bytes": _storage,
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _BUILDERS |= {
        f"{_core}.multiarray._reconstruct": _reconstruct,
        f"{_core}.multiarray.scalar": _scalar,
        f"{_core}.numeric._frombuffer": _from_buffer,
    }
_NAMES = {"numpy.ndarray": _NDARRAY} | {
    text: Name(text, build) for text, build in _BUILDERS.items()
}
_STORAGE_NAMES = {f"torch.{name}": Name(name, None) for name in _STORAGES}
