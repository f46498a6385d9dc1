"""A folder of files, or a zip archive that is read in place."""

from __future__ import annotations

import functools
import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import atomic_write, is_bomb

# What is read as a whole is an image or a mask: those of microscopes come to less, packed as they are in their formats.
MAX_BYTES = 1 << 29
# What zipfile and the codecs below it raise for damaged archives, unknown codecs and encrypted files.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    IndexError,
)


def list_files(root: str | os.PathLike[str]) -> list[str]:
    """Return the files of a folder and its sub-folders, or of a zip archive: sorted paths with '/', relative to it.

    Hidden files, and what macOS puts into archives, are left out.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        DataError: if the file is no zip archive.
    """
    source = Path(root)
    if source.is_dir():
        names = [
            path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()
        ]
    elif source.is_file():
        names = [name for name in _archive(str(source)).namelist() if not name.endswith("/")]
    else:
        raise FileNotFoundError(f"no folder or zip archive {root}")
    return sorted(
        name
        for name in names
        if not any(part == "__MACOSX" or part.startswith(".") for part in name.split("/"))
    )


def open_file(root: str | os.PathLike[str], name: str) -> io.BufferedReader:
    """Open one of the files that `list_files` names, to read it piece by piece: it may be of any size.

    Raises:
        OSError: it cannot be opened.
        DataError: it is damaged in its archive, or encrypted; also while it is read.
    """
    source = Path(root)
    if source.is_dir():
        return (source / name).open("rb")
    archive = _archive(str(source))
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise DataError(f"{root}: there is no {name} in it") from error
    return open_member(archive, info, f"{root}: {name}")


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> io.BufferedReader:
    """Open a file of an archive; ``where`` is what errors call it.

    Raises:
        DataError: it is damaged, encrypted, or packed so small that it would fill the memory; also while it is read.
    """
    if is_bomb(info.file_size, info.compress_size):
        raise DataError(
            f"{where} would be unpacked from {info.compress_size} bytes to {info.file_size}: it is blank, or made to "
            "fill the memory; unpack the archive, and look at what it holds"
        )
    try:
        member = archive.open(info)
    except DAMAGED as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    return io.BufferedReader(_Member(member, where), 1 << 16)


def read_file(root: str | os.PathLike[str], name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of one of the files that `list_files` names.

    Raises:
        OSError: it cannot be opened.
        DataError: it is damaged in its archive, encrypted, or unpacks to more than ``max_bytes``.
    """
    with open_file(root, name) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise DataError(
            f"{root}: {name} has more than the {max_bytes} bytes that are read as a whole: unpack the archive, "
            "and look at what it holds"
        )
    return content


def unpack(
    archive: str | os.PathLike[str], names: Mapping[str, str], folder: str | os.PathLike[str]
) -> None:
    """Write files of an archive to ``folder``; ``names`` maps their paths there to those in the archive."""
    for target, name in names.items():
        with atomic_write(Path(folder) / target) as temporary:
            temporary.write_bytes(read_file(archive, name))


class _Member(io.RawIOBase):
    """A file in an archive, whose errors name it."""

    def __init__(self, member: IO[bytes], where: str) -> None:
        super().__init__()
        self._member, self._where = member, where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._member.seek(offset, whence)
        except DAMAGED as error:
            raise DataError(f"{self._where} cannot be read: {error}") from error

    def tell(self) -> int:
        return self._member.tell()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            content = self._member.read(len(view))
        except DAMAGED as error:
            raise DataError(f"{self._where} cannot be read: {error}") from error
        view[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._member.close()
        super().close()


@functools.lru_cache(maxsize=1)
def _archive(path: str) -> zipfile.ZipFile:
    # Kept open: to read the table of contents of 30,000 files takes as long as many of the files.
    try:
        return zipfile.ZipFile(path)
    except PermissionError:
        raise
    except DAMAGED as error:
        raise DataError(f"{path} is neither a folder nor a zip archive: {error}") from error
