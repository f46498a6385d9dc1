"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from cellseg_mmdet.errors import DataError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]
# How text files are written: a name of a file that is no text, as old disks have some, is no reason to lose all else.
ESCAPED = "backslashreplace"
HAS_LOCKS = fcntl is not None
# Rows of a csv are packed to a fifth, pictures to a hundredth, blank ones to a thousandth.
_LARGE, _LARGEST_GROWTH = 1 << 29, 200
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"PK\3\4": "zip",
}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary sibling that takes the place of ``path`` when the block ends without an error.

    Parent folders are made. After an error, or a kill, ``path`` is what it was before; what a killed process left is
    removed by the next one that writes to the folder (`sweep`).

    Raises:
        OSError: it cannot be written, as on a full disk; the error names ``path``.
    """
    target = Path(path)
    with staged(target) as temporary:
        yield temporary
        with _naming(target, temporary):
            publish(temporary, target)


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield the path of a temporary sibling of a file, which is removed at the end of the block, as it is after a kill.

    `publish` makes it the file. Several files that belong together are staged, and then published at once.

    Raises:
        OSError: it cannot be written; the error names ``target``.
    """
    with _naming(target):
        _make_folder(target.parent)
        sweep(target.parent, once=True)
        handle, temporary = _locked_temporary(target)
    try:
        with _naming(target, temporary):
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)  # and with it the lock


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling of a folder, removed at the end of the block; after a kill, as a `staged` file is."""
    _make_folder(target.parent)
    sweep(target.parent, once=True)
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=f".{target.name[:50]}.", suffix=".cellseg-tmp"
    ) as name:
        handle = os.open(name, os.O_RDONLY)
        lock_file(handle, wait=True)
        try:
            yield Path(name)
        except OSError as error:
            is_ours = error.filename is None or str(error.filename).startswith(name)
            if error.errno is not None and is_ours:
                error.filename = str(target)
            raise
        finally:
            os.close(handle)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # what it says of a file in the place of a folder
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


def publish(temporary: Path, target: Path) -> None:
    """Put a temporary file of `staged` in the place of its target."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
    temporary.replace(target)


def sweep(folder: Path, *, once: bool = False) -> list[Path]:
    """Remove the temporary files and folders that killed processes left in a folder, and return them.

    What a living process writes to is locked by it, and stays.

    Args:
        folder: not those below it.
        once: do nothing where this process has swept before.
    """
    key = os.path.abspath(folder)
    if once and key in _swept:
        return []
    _swept.add(key)
    removed = []
    with os.scandir(folder) as entries:
        left = [Path(entry) for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for path in left:
        with contextlib.suppress(OSError):
            is_folder = path.is_dir()
            handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
            try:
                if lock_file(handle, wait=False):
                    shutil.rmtree(path) if is_folder else path.unlink()
                    removed.append(path)
            finally:
                os.close(handle)
    return removed


_swept: set[str] = set()
# Of `_locked_temporary`: a dot, the stem, what mkstemp draws, and the suffix.
_TEMPORARY = re.compile(r"\..*\.[a-z0-9_]{8}\.cellseg-tmp(\.[^.]*)?")


def _locked_temporary(target: Path) -> tuple[int, Path]:
    """Make a temporary sibling; the kernel holds its lock until the handle is closed, or this process ends."""
    while True:
        # The suffix stays: writers such as OpenCV choose their format by it. The stem is cut, for a name has 255 bytes.
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem[:50]}.", suffix=f".cellseg-tmp{target.suffix}"
        )
        lock_file(handle, wait=True)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # another process swept it before it was locked


def lock_file(handle: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed, or this process ends; return whether that worked.

    Some file systems know no locks.
    """
    if not HAS_LOCKS:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _naming(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Put the name of ``target`` into errors of the operating system that name no file, or the temporary one."""
    try:
        yield
    except OSError as error:
        is_ours = temporary is None or error.filename in (None, str(temporary), temporary)
        if error.errno is not None and is_ours:
            error.filename = str(target)
        if temporary is not None and error.strerror:  # libraries name it in their words, as pyarrow
            error.strerror = error.strerror.replace(str(temporary), str(target))
        raise


def load_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file, with or without a byte order mark.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        DataError: if it is empty, damaged, compressed, not UTF-8 or nested absurdly deep; the message names it.
    """
    check_is_file(path)
    content = Path(path).read_bytes()
    if not content.strip(b" \t\r\n\0"):
        raise DataError(f"{path} is empty, and no JSON: write or copy it anew")
    fault = fault_of_text(content)
    if fault:
        raise DataError(f"{path} is not valid JSON, which is text in UTF-8: {fault}")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON (cut off?): {error}") from error
    except RecursionError as error:
        raise DataError(
            f"{path} is not JSON of annotations: lists or objects are nested more than a thousand deep"
        ) from error


def check_is_file(path: str | os.PathLike[str]) -> None:
    """Raise DataError where a path is there, but neither file nor folder: whoever opens a pipe waits for ever.

    Example:
        >>> check_is_file(os.devnull)
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.DataError: /dev/null is no file, but a device or a pipe: write it to a file first
    """
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DataError(f"{path} is no file, but a device or a pipe: write it to a file first")


def fault_of_text(head: bytes) -> str:
    """Return what the first bytes of a file show instead of text in UTF-8, and a remedy; '' for what may be that.

    Example:
        >>> fault_of_text("id".encode("utf-16"))
        'it is UTF-16; save it as UTF-8'
    """
    for mark, name in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return f"it is {name}; save it as UTF-8"
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            return f"it is compressed ({name}); unpack it"
    return ""


def is_bomb(num_bytes: int, num_packed: int) -> bool:
    """Whether so little is unpacked to so much that it is blank, or made to fill the memory.

    Example:
        >>> is_bomb(10 << 30, 10 << 20), is_bomb(10 << 20, 10 << 10)
        (True, False)
    """
    return num_bytes > _LARGE and num_bytes > _LARGEST_GROWTH * max(num_packed, 1)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_records_csv(path: str | os.PathLike[str], kind: type, records: Iterable[Any]) -> None:
    """Write dataclass instances of ``kind``, one a row under its fields' names (header only when there is none)."""
    with atomic_write(path) as temporary:
        save_records_csv(temporary, kind, records)


def save_records_csv(path: Path, kind: type, records: Iterable[Any]) -> None:
    """Write as `write_records_csv` does, but into a file that is a temporary one already."""
    with path.open("w", newline="", encoding="utf-8", errors=ESCAPED) as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(kind))
        writer.writerows(astuple(record) for record in records)
