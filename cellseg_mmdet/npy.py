"""Arrays in numpy's own files, whose headers may say anything: what they say is compared with what is there."""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import IO

import numpy as np

from cellseg_mmdet import archives
from cellseg_mmdet.errors import DataError, quoted

# A label map of 16,000 x 16,000 pixels; pictures that are larger come in tiles.
MAX_BYTES = 1 << 30


def read_npy(file: IO[bytes], num_bytes: int, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Read an array of numbers.

    Args:
        file: open at the begin of the ``.npy`` content.
        num_bytes: of that content.
        max_bytes: largest size of the array.

    Raises:
        DataError: it is damaged, cut off, of objects, or larger than allowed.

    Example:
        >>> content = io.BytesIO()
        >>> np.save(content, np.arange(3))
        >>> num_bytes = content.tell()
        >>> _ = content.seek(0)
        >>> read_npy(content, num_bytes)
        array([0, 1, 2])
    """
    shape, is_fortran, dtype, num_header = _header(file)
    size = math.prod(shape) * dtype.itemsize
    if size != num_bytes - num_header:
        raise DataError(
            f"its header says {dtype} of shape {shape}, {size} bytes, and {num_bytes - num_header} follow: "
            "it is cut off or damaged; save it anew"
        )
    if size > max_bytes:
        raise DataError(f"{dtype} of shape {shape} has more than the {max_bytes} bytes allowed")
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        part = file.read(min(size - filled, 1 << 24))
        if not part:
            raise DataError("it is cut off; save it anew")
        view[filled : filled + len(part)] = part
        filled += len(part)
    if not size:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def npy_fault(file: IO[bytes], num_bytes: int) -> str:
    """Return what is wrong with the header of a ``.npy`` file, '' for nothing; its array may be of any size."""
    try:
        shape, _, dtype, num_header = _header(file)
    except DataError as error:
        return str(error)
    size = math.prod(shape) * dtype.itemsize
    if size > num_bytes - num_header:
        return f"its header says {dtype} of shape {shape}, {size} bytes, and {num_bytes - num_header} follow"
    return ""


def read_npz(path: str | os.PathLike[str], name: str | None = None) -> np.ndarray:
    """Read an array of a ``.npz`` file: the only one, or of several the one called ``name``.

    Raises:
        OSError: there is no such file, or it cannot be read.
        DataError: as `read_npy`, or if the archive is damaged, or there is no such array; the message names the file.
    """
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except archives.DAMAGED as error:
            raise DataError(f"{path}: no .npz file that can be read: {error}") from error
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        if name in names:
            index = names.index(name)
        elif len(names) == 1:
            index = 0
        else:
            raise DataError(
                f"{path}: expected an array named {name} or a single array, found {quoted(names, 500)}"
            )
        info = archive.infolist()[index]
        try:
            with archives.open_member(archive, info, f"{path}: {info.filename}") as member:
                return read_npy(member, info.file_size)
        except DataError as error:
            text = str(error)
            raise DataError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, whether it is in Fortran's order, type, and the length of the header."""
    head = file.read(_MAX_HEADER)
    start = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(start)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(start)
    except Exception as error:  # of Python's tokenizer as well: the header is an expression
        raise DataError(f"no array of numpy that can be read: {error}") from error
    if dtype.hasobject or dtype.kind not in "biufc" or dtype.subdtype is not None:
        raise DataError(f"an array of {dtype}, which may run code or is no number; save numbers")
    # Sides are bounded beside one of 0 as well, of which numpy makes an array without elements.
    places = math.prod(max(side, 1) for side in shape)
    if len(shape) > _MAX_AXES or any(side < 0 for side in shape) or places > _MAX_PLACES:
        raise DataError(f"an array of shape {quoted(shape)}")
    file.seek(start.tell())
    return shape, bool(is_fortran), dtype, start.tell()


_MAX_HEADER = 1 << 14
_MAX_AXES = 32
_MAX_PLACES = 1 << 48
