"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from cellseg_mmdet.errors import DataError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary sibling that takes the place of ``path`` when the block ends without an error.

    Parent folders are made. After an error, or a kill, ``path`` is what it was before.

    Raises:
        OSError: it cannot be written, as on a full disk; the error names ``path``.
    """
    target = Path(path)
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays: writers such as OpenCV choose their format by it.
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}.", suffix=f".tmp{target.suffix}"
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with _naming(target, temporary):
            yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Put the name of ``target`` into errors of the operating system that name no file, or the temporary one."""
    try:
        yield
    except OSError as error:
        is_ours = temporary is None or error.filename in (None, str(temporary), temporary)
        if error.errno is not None and is_ours:
            error.filename = str(target)
        raise


def load_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a byte order mark, which some editors put first, is passed over.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is damaged, or nested deeper than Python follows; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON (cut off?): {error}") from error
    except RecursionError as error:
        raise DataError(
            f"{path} is not JSON of annotations: lists or objects are nested more than a thousand deep"
        ) from error


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_records_csv(path: str | os.PathLike[str], kind: type, records: Iterable[Any]) -> None:
    """Write dataclass instances of ``kind``, one a row under its fields' names (header only when there is none)."""
    with (
        atomic_write(path) as temporary,
        Path(temporary).open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(kind))
        writer.writerows(astuple(record) for record in records)
