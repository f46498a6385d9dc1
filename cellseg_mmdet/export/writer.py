"""What a writer of predictions is; those there are stand in `WRITERS`, one file each in this folder."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar

from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.registry import Registry
from cellseg_mmdet.structures import ImagePrediction, safe_name


@dataclass(frozen=True)
class Written:
    """What a writer wrote.

    Attributes:
        files: files and folders, each with what it is in a few words.
    """

    files: Mapping[Path, str] = field(default_factory=dict)


class Writer(ABC):
    """Writes the predictions of a run as they come; none is kept.

    Files that hold several images appear when the writer is closed, whole, and not at all if it is discarded. A new
    writer is a subclass in a file of its own in this folder::

        @WRITERS.register("areas")
        class AreaWriter(Writer):
            def open(self, out_dir, classes):
                self.path = Path(out_dir) / "areas.txt"
                self.file = self.open_file(self.path)

            def add(self, prediction, picture):
                print(prediction.image_id, *prediction.masks.areas, file=self.file)

            def close(self):
                self.finish()
                return Written({self.path: "areas in pixels"})
    """

    def __init__(self) -> None:
        self._files = ExitStack()

    @abstractmethod
    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        """Make ready to write to a folder; ``classes`` are the class names by label.

        Raises:
            OSError: it cannot be written there.
        """

    @abstractmethod
    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        """Write the final instances of the next image.

        Args:
            prediction: what was found.
            picture: what it was found in; its pixels are read when they are asked for.
        """

    @abstractmethod
    def close(self) -> Written:
        """Put the files in their places."""

    def discard(self) -> None:
        """Leave out the files that are not in their places yet."""
        try:
            with self._files:
                raise _DiscardedError
        except _DiscardedError:
            pass

    def open_file(self, path: Path, mode: str = "w") -> IO[Any]:
        """Open a file that takes the place of ``path`` at `finish`; text is UTF-8 without translated line ends."""
        temporary = self._files.enter_context(atomic_write(path))
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "", "errors": ESCAPED}
        return self._files.enter_context(temporary.open(mode, **text))  # type: ignore[call-overload]

    def finish(self) -> None:
        """Put all files of `open_file` in their places."""
        self._files.close()


class ImageWriter(Writer):
    """Writes files of their own for each image, and keeps nothing; a run calls it where the image is predicted.

    Attributes:
        folder: of its files, in the folder of the run.
        what: one of them, in a word.
        tally: numbers about the image that was written last, which `told` makes a sentence of.
    """

    folder: ClassVar[str]
    what: ClassVar[str]

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        self.out_dir, self.classes = Path(out_dir), tuple(classes)
        self.tally: dict[str, float] = {}
        self._count = 0
        self._total: dict[str, float] = {}
        self._named: dict[str, str] = {}

    @abstractmethod
    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        """Write the files of an image, each whole or not at all, and return them.

        Their names are those of `path_of`: by that a run knows its own files again.
        """

    def path_of(self, prediction: ImagePrediction, suffix: str) -> Path:
        """Return the file of an image: in the folder of this writer, whatever the image is called.

        Raises:
            DataError: two images would have one file.
        """
        name = safe_name(prediction.image_id)
        first = self._named.setdefault(name, prediction.image_id)
        if first != prediction.image_id:
            raise DataError(
                f"images {first!r} and {prediction.image_id!r} would both be written to {name}{suffix}: rename one"
            )
        return self.out_dir / self.folder / f"{name}{suffix}"

    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        self.tally = {}
        self._count += len(self.write(prediction, picture))
        self._total = total([self._total, self.tally])

    def close(self) -> Written:
        return self.written(self._count, self._total)

    def told(self, tally: Mapping[str, float]) -> str:
        """Return what a user should know of all images, given the `total` of their tallies; '' for nothing."""
        return ""

    def written(self, count: int, tally: Mapping[str, float] | None = None) -> Written:
        """Return what was written, given the number of files and the `total` of the tallies of the images."""
        what = f"{count} {self.what}{'s' * (count != 1)}"
        said = self.told(tally or {})
        return Written({self.out_dir / self.folder: f"{what}; {said}" if said else what})


def total(tallies: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the tally of all images: the sum of each number, of one whose name begins with ``least`` the least.

    Example:
        >>> total([{"cells": 2, "least_iou": 0.9}, {"cells": 3, "least_iou": 0.8}, {}])
        {'cells': 5, 'least_iou': 0.8}
    """
    found: dict[str, float] = {}
    for tally in tallies:
        for name, value in tally.items():
            if name not in found:
                found[name] = value
            else:
                known = found[name]
                found[name] = min(known, value) if name.startswith("least") else known + value
    return found


class _DiscardedError(Exception):
    pass


WRITERS: Registry[Writer] = Registry("writer")
# What options are called on command lines where that is not the name of the parameter.
_FLAGS = {"simplify_px": "--simplify", "measure": "--measurements"}


def options_of(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return for each writer those of the options that it takes, by the names of its parameters; None is no option.

    Raises:
        UsageError: an option is taken by none of them.

    Example:
        >>> options_of(["submission", "coco"], {"format": "dsb2018", "overlaps": None})
        {'submission': {'format': 'dsb2018'}, 'coco': {}}
    """
    given = {name: value for name, value in given.items() if value is not None}
    taken = {name: set(inspect.signature(WRITERS.get(name)).parameters) for name in names}
    for option in given:
        if not any(option in parameters for parameters in taken.values()):
            takers = ", ".join(taken_by(option, WRITERS.names()))
            raise UsageError(
                f"{_FLAGS.get(option, '--' + option.replace('_', '-'))} is of the writers {takers}; "
                f"to be written are {', '.join(names)}"
            )
    return {
        name: {option: value for option, value in given.items() if option in parameters}
        for name, parameters in taken.items()
    }


def taken_by(option: str, names: Sequence[str]) -> list[str]:
    """Return those of the writers that take an option, by the names of their parameters.

    Example:
        >>> taken_by("simplify_px", ["geojson", "npz"])
        ['geojson']
    """
    return [name for name in names if option in inspect.signature(WRITERS.get(name)).parameters]


@contextmanager
def opened(
    writers: Sequence[Writer], out_dir: str | os.PathLike[str], classes: Sequence[str]
) -> Iterator[Sequence[Writer]]:
    """Open writers for the block, which closes them; after an error all are discarded.

    Example:
        >>> from cellseg_mmdet import Runs
        >>> from cellseg_mmdet.structures import ImageKey, ImageRecord, from_records
        >>> record = ImageRecord("a.png", 2, 3, Runs.empty(2, 3), ())
        >>> with opened([WRITERS.get("submission")()], "out", ("cell",)) as writers:
        ...     for prediction in from_records([record]):
        ...         writers[0].add(prediction, Picture(ImageKey("a.png")))
        ...     written = writers[0].close()
        >>> Path("out/submission.csv").read_text().splitlines()
        ['id,predicted', 'a,']
    """
    try:
        for writer in writers:
            writer.open(out_dir, classes)
        yield writers
    except BaseException:
        for writer in writers:
            writer.discard()
        raise
