"""Annotation files of one conversion, which stand or fall together."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import atomic_write, load_json, publish, staged
from cellseg_mmdet.structures import ImageRecord

# Beside the files: which of them belong together, and what made them.
LIST_NAME = "conversions.json"
_ID = "content_id"


class FileSet:
    """Files of a conversion that are written under other names, and appear together when all are there.

    Made by `file_set`.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._staged: dict[Path, Path] = {}
        self._ids: dict[str, str] = {}

    def stage(self, target: Path, file_id: str | None = None) -> Path:
        """Return the path to write a file to.

        Args:
            target: where it will be.
            file_id: of `content_ids`, which the file holds (`with_id`); None for a report.
        """
        temporary = self._stack.enter_context(staged(target))
        self._staged[target] = temporary
        if file_id is not None:
            self._ids[target.name] = file_id
        return temporary

    def publish(self) -> None:
        """Make all files appear: the list first, so that a set of which a kill left a part is refused."""
        before = _read(self._folder / LIST_NAME)
        if len(self._ids) > 1 or any(one["files"].keys() & self._ids.keys() for one in before):
            _enter(self._folder, before, self._ids)
        for target, temporary in self._staged.items():
            publish(temporary, target)


@contextlib.contextmanager
def file_set(folder: str | os.PathLike[str]) -> Iterator[FileSet]:
    """Yield a `FileSet` of a folder; it is published at the end of the block, and dropped after an error.

    Whoever is killed before that leaves what was there. Renaming takes milliseconds; whoever is killed in them leaves
    files that do not belong together, which `check_set` refuses.

    Raises:
        OSError: a file cannot be written; it is named.
        DataError: the folder's list of conversions is damaged.
    """
    with contextlib.ExitStack() as stack:
        files = FileSet(Path(folder), stack)
        yield files
        files.publish()


def content_ids(
    parts: Mapping[Path, Sequence[int]], records: Sequence[ImageRecord], about: Any
) -> dict[Path, str]:
    """Return for each file what tells its content from that of another: the same for the same content.

    Args:
        parts: file -> the records in it, by their index.
        records: images.
        about: what else is in the files, of JSON types.
    """
    digests = [_digest_of(record) for record in records]
    head = json.dumps(about, sort_keys=True, default=str).encode()
    return {
        path: hashlib.sha256(
            head + b"".join(b"%d:%s" % (index, digests[index]) for index in members)
        ).hexdigest()[:16]
        for path, members in parts.items()
    }


def _digest_of(record: ImageRecord) -> bytes:
    fields = (record.file_name, record.height, record.width, record.categories)
    digest = hashlib.sha256(repr((*fields, record.cell_type, record.group)).encode())
    for array in (record.masks.starts, record.masks.lengths, record.masks.offsets):
        digest.update(array.tobytes())
    return digest.digest()


def with_id(info: Mapping[str, Any], file_id: str) -> dict[str, Any]:
    """Return what an annotation file says of its origin, with its id."""
    return {**info, _ID: file_id}


def check_set(path: str | os.PathLike[str], content: Any) -> None:
    """Refuse an annotation file that does not belong to those beside it: of a conversion that was cut off, or older.

    A file without a list of conversions beside it, such as a copy, and one that no list names, is let through.

    Args:
        path: of the file.
        content: what it holds, as its layout loads it.

    Raises:
        DataError: it is another file than the last conversion wrote under this name, or one of a set of which others
            were overwritten since; the message gives the command to run again.
    """
    path = Path(path)
    list_path = path.with_name(LIST_NAME)
    if not list_path.is_file():
        return
    found = _id_in(content)
    for one in _read(list_path):
        if one["files"].get(path.name, found) != found:
            raise DataError(
                f"{path} does not belong to the files beside it: the conversion that they are of was cut off, or this "
                f"file was written by another one. Run it again: {one['command']}"
            )
        if found is not None and one["older"].get(path.name) == found:
            raise DataError(
                f"{path} is left from an older conversion, of which other files were overwritten since by: "
                f"{one['command']}. Remove it, or make it again"
            )


def _id_in(content: Any) -> str | None:
    """Return the id in a loaded file: COCO keeps it in ``info``, MMDetection in ``metainfo.info``."""
    for where in (content, content.get("metainfo") if isinstance(content, Mapping) else None):
        info = where.get("info") if isinstance(where, Mapping) else None
        if isinstance(info, Mapping) and isinstance(info.get(_ID), str):
            return info[_ID]
    return None


def _enter(folder: Path, before: list[dict[str, Any]], ids: Mapping[str, str]) -> None:
    """Add a set to the list of a folder, in the place of those of which it overwrites a file."""
    kept: list[dict[str, Any]] = []
    older: dict[str, str] = {}
    for one in before:
        if one["files"].keys() & ids.keys():
            older.update(one["older"] | one["files"])
        else:
            kept.append(one)
    older = {name: file_id for name, file_id in older.items() if name not in ids}
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    sets = [*kept, {"command": command, "files": dict(ids), "older": older}]
    with atomic_write(folder / LIST_NAME) as temporary:
        temporary.write_text(json.dumps({"sets": sets}, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    content = load_json(path)
    sets = content.get("sets") if isinstance(content, dict) else None
    if not isinstance(sets, list) or not all(map(_is_set, sets)):
        raise DataError(
            f"{path}: not a list of conversions (sets of command, files and older ones). Remove it and convert again"
        )
    return sets


def _is_set(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("command"), str)
        and isinstance(one.get("files"), dict)
        and isinstance(one.get("older"), dict)
    )
