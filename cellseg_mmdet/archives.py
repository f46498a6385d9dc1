"""A folder of files, or a zip archive that is read in place."""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import atomic_write


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


def read_file(root: str | os.PathLike[str], name: str) -> bytes:
    """Return the content of one of the files that `list_files` names.

    Raises:
        DataError: if it is damaged in its archive, or encrypted.
    """
    source = Path(root)
    if source.is_dir():
        return (source / name).read_bytes()
    try:
        return _archive(str(source)).read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{name} cannot be read: {error}") from error


def unpack(
    archive: str | os.PathLike[str], names: Mapping[str, str], folder: str | os.PathLike[str]
) -> None:
    """Write files of an archive to ``folder``; ``names`` maps their paths there to those in the archive."""
    for target, name in names.items():
        with atomic_write(Path(folder) / target) as temporary:
            temporary.write_bytes(read_file(archive, name))


@functools.lru_cache(maxsize=1)
def _archive(path: str) -> zipfile.ZipFile:
    # Kept open: to read the table of contents of 30,000 files takes as long as many of the files.
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is neither a folder nor a zip archive: {error}") from error
