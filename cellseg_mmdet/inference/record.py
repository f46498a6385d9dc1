"""`RunRecord`: what a run has finished, kept in its folder so that the same command goes on after an interruption."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.listing import RESULTS_MARK
from cellseg_mmdet.inference.tasks import Outcome, Task
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

_ARRAYS = ("boxes", "scores", "labels", "mask_scores", "soft_masks")
_RUNS = ("starts", "lengths", "offsets")
_Head = tuple[dict[str, Any], int]  # the line of an entry, and where its prediction begins


@dataclass(frozen=True)
class Finished:
    """An image that is finished.

    Attributes:
        num_cells: final instances.
        files: name of an image writer -> its files, relative to the folder of the run.
        warning: what a user should know of it.
        num_raw: instances before post-processing.
        left_out: type of a step of the post-processing -> instances that it left out.
        size: as that of an `Outcome`.
        offset: of its prediction in the record.
        length: of its prediction in bytes.
        tallies: name of an image writer -> numbers about the image, see `ImageWriter.tally`.
    """

    num_cells: int
    files: Mapping[str, tuple[str, ...]]
    warning: str
    num_raw: int
    left_out: Mapping[str, int]
    size: tuple[float | None, float] | None
    offset: int
    length: int
    tallies: Mapping[str, Mapping[str, float]]


class RunRecord:
    """The finished images of a run.

    It is a folder ``.cellseg-run`` with ``run.json``, what the run is, and ``finished``: for each image a line of JSON
    that says which one, and its prediction as npz. Entries are only appended; one that a kill cut off is dropped when
    the record is opened again. Finished images that are not among the tasks are forgotten, and their files removed.

    Args:
        out_dir: folder of the run.
        tasks: of the run.
        identity: what results depend on; a record of another identity is not gone on with.
        resume: None goes on with a run of the same identity and refuses another; True as well; False removes what an
            earlier run wrote and starts anew.

    Attributes:
        finished: ``img_id`` of a task -> what is kept of it.
        classes: class names of the model, by label; empty until an image is finished.

    Raises:
        OSError: nothing can be written in the folder.
        UsageError: another run writes there now, or the record is of another identity, or it is damaged.
    """

    def __init__(
        self,
        out_dir: str | os.PathLike[str],
        tasks: Sequence[Task],
        identity: Mapping[str, str],
        *,
        resume: bool | None = None,
    ) -> None:
        self.out_dir = Path(out_dir)
        self._folder = self.out_dir / RESULTS_MARK
        self._about, self._path = self._folder / "run.json", self._folder / "finished"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder / "lock", self.out_dir)
        self.finished: dict[int, Finished] = {}
        self.classes: tuple[str, ...] = ()
        self._written: list[str] = []
        self._options: dict[str, Any] = {}
        self._identity = dict(identity)
        # What an image is when the run begins: one that is changed meanwhile is predicted anew by the next run.
        self._keys = {task.img_id: _identity_of(task) for task in tasks}
        if self._about.exists():
            self._open(remove=resume is False)
        self._save()
        self._file: IO[bytes] = self._path.open("ab")

    def close(self) -> None:
        """Close the files; what was kept stays."""
        self._file.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, outcome: Outcome) -> None:
        """Keep the outcome of a task that did not fail."""
        assert outcome.prediction is not None
        if not self.classes:
            self.classes = outcome.classes
            self._save()
        content = _packed(outcome.prediction)
        head = {
            "image": self._keys[outcome.task.img_id],
            "num_cells": len(outcome.prediction),
            "files": outcome.files,
            "warning": outcome.warning,
            "num_raw": outcome.num_raw,
            "left_out": outcome.left_out,
            "tallies": outcome.tallies,
            "size": outcome.size,
            "length": len(content),
            "crc32": zlib.crc32(content),
        }
        line = json.dumps(head).encode() + b"\n"
        start = self._file.seek(0, os.SEEK_END)
        self._file.write(line + content)
        self._file.flush()
        self.finished[outcome.task.img_id] = _entry(head, start + len(line))

    def prediction(self, task: Task) -> ImagePrediction:
        """Return the prediction of a finished task, with the number and the name that the task has now."""
        kept = self.finished[task.img_id]
        with self._path.open("rb") as file:
            file.seek(kept.offset)
            return _unpacked(file.read(kept.length), task)

    def written(self, paths: Iterable[Path]) -> None:
        """Note the files of the whole run, so that a run that starts anew can remove them."""
        self._written = sorted(
            {*self._written, *(os.path.relpath(one, self.out_dir) for one in paths)}
        )
        self._save()

    def other_options(self, options: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Return the image writers whose files of finished images were written with other options than these."""
        return {
            name for name, given in options.items() if self._options.get(name, {}) != _plain(given)
        }

    def keep_options(self, options: Mapping[str, Mapping[str, Any]]) -> None:
        """Note with which options image writers write now."""
        self._options |= {name: _plain(given) for name, given in options.items()}
        self._save()

    def _open(self, *, remove: bool) -> None:
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            identity, self._written = dict(about["identity"]), list(about["written"])
            self.classes = tuple(about["classes"])
            self._options = dict(about.get("options", {}))
            _check_paths(self._written)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{self._about} is damaged: remove {self._folder}, or give another --out-dir"
            ) from error
        other = [name for name in self._identity if identity.get(name) != self._identity[name]]
        if other and not remove:
            raise UsageError(
                f"{self.out_dir} holds a run with another {', another '.join(other)}: give another --out-dir, "
                "or --no-resume, which removes its results"
            )
        heads = {head["image"]: (head, offset) for head, offset in _entries(self._path)}
        if remove:
            self._remove(
                [*self._written, *(path for head, _ in heads.values() for path in _files(head))]
            )
            self._path.unlink(missing_ok=True)
            self._written, self.classes, self._options = [], (), {}
            return
        wanted = set(self._keys.values())
        kept = {path for key in wanted & set(heads) for path in _files(heads[key][0])}
        gone = [head for key, (head, _) in heads.items() if key not in wanted]
        if gone:
            self._remove({path for head in gone for path in _files(head)} - kept)
            heads = self._compacted({key: one for key, one in heads.items() if key in wanted})
        self.finished = {
            number: _entry(*heads[key]) for number, key in self._keys.items() if key in heads
        }

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            if ".." in Path(path).parts or Path(path).is_absolute():
                continue  # labels in the folder of a picture are not ours to remove
            found = self.out_dir / path
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink(missing_ok=True)

    def _compacted(self, heads: Mapping[str, _Head]) -> dict[str, _Head]:
        """Write the record anew with some of its entries, and return them with their new offsets."""
        moved: dict[str, _Head] = {}
        with (
            atomic_write(self._path) as temporary,
            temporary.open("wb") as out,
            self._path.open("rb") as file,
        ):
            for key, (head, offset) in heads.items():
                out.write(json.dumps(head).encode() + b"\n")
                moved[key] = head, out.tell()
                file.seek(offset)
                out.write(file.read(head["length"]))
        return moved

    def _save(self) -> None:
        about = {
            "identity": self._identity,
            "classes": self.classes,
            "written": self._written,
            "options": self._options,
        }
        with atomic_write(self._about) as temporary:
            temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")


def _plain(options: Mapping[str, Any]) -> Any:
    """Return options as they are read back from JSON."""
    return json.loads(json.dumps(options, default=repr))


def _locked(path: Path, out_dir: Path) -> IO[str] | None:
    """Return a file that is locked as long as it is open, so that two runs do not write to one folder."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return None
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(f"another run writes to {out_dir} now: give another --out-dir") from None
    return file


def _identity_of(task: Task) -> str:
    """Return which image a task is of: file as it is on disk now, scene, plane, name."""
    path = Path(task.key.path)
    try:
        state = path.stat()
        stamp = f"{state.st_size} bytes of {state.st_mtime_ns}"
    except OSError:
        stamp = "absent"
    return "|".join(
        [os.path.abspath(path), stamp, str(task.key.scene), str(task.key.plane), task.key.name]
    )


def _files(head: Mapping[str, Any]) -> list[str]:
    return [path for paths in head["files"].values() for path in paths]


def _check_paths(paths: Iterable[Any]) -> None:
    """Raise TypeError where a path is none, as in a damaged record."""
    if not all(isinstance(path, str) and "\0" not in path for path in paths):
        raise TypeError("a path is none")


def _entry(head: Mapping[str, Any], offset: int) -> Finished:
    files = {name: tuple(paths) for name, paths in head["files"].items()}
    size = head.get("size")
    return Finished(
        head["num_cells"],
        files,
        head["warning"],
        head["num_raw"],
        head["left_out"],
        None if size is None else (size[0], size[1]),
        offset,
        head["length"],
        head.get("tallies", {}),
    )


def _entries(path: Path) -> Iterator[_Head]:
    """Yield the line of each whole entry with the offset of its prediction; what follows the last one is cut off."""
    whole = 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in iter(file.readline, b""):
            try:
                head = json.loads(line)
                _check_paths([head["image"], *_files(head)])
                offset = file.tell()
                _entry(head, offset)  # all that it must have is there
                content = file.read(head["length"])
                if zlib.crc32(content) != head["crc32"] or len(content) != head["length"]:
                    break
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                break
            whole = file.tell()
            yield head, offset
        if whole < path.stat().st_size:
            os.truncate(path, whole)


def _packed(prediction: ImagePrediction) -> bytes:
    arrays = {name: getattr(prediction, name) for name in _ARRAYS}
    arrays |= {name: getattr(prediction.masks, name) for name in _RUNS}
    arrays["size_hw"] = np.array([prediction.height, prediction.width])
    content = io.BytesIO()
    np.savez_compressed(content, **{key: one for key, one in arrays.items() if one is not None})
    return content.getvalue()


def _unpacked(packed: bytes, task: Task) -> ImagePrediction:
    with np.load(io.BytesIO(packed), allow_pickle=False) as content:
        height, width = (int(side) for side in content["size_hw"])
        masks = Runs(**{name: content[name] for name in _RUNS}, height=height, width=width)
        arrays = {name: content[name] for name in _ARRAYS if name in content}
    return ImagePrediction(
        image_id=task.key.name,
        img_id=task.img_id,
        height=height,
        width=width,
        masks=masks,
        img_path=task.key.path,
        **arrays,
    )
