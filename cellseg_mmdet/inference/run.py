"""A run: tasks -> outcomes -> writers, finished image by finished image."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cellseg_mmdet.errors import ImageError, UsageError
from cellseg_mmdet.export import WRITERS, opened, total
from cellseg_mmdet.fileio import atomic_write, write_records_csv
from cellseg_mmdet.images import PlaneSelection
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.images.scale import ScaleChoice
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference.executors import EXECUTORS
from cellseg_mmdet.inference.record import RunRecord
from cellseg_mmdet.inference.size_estimate import sentence as size_sentence
from cellseg_mmdet.inference.spec import ModelSource
from cellseg_mmdet.inference.tasks import (
    Job,
    Outcome,
    Task,
    image_writers,
    is_image_writer,
    write_image,
)
from cellseg_mmdet.postprocess import Tally
from cellseg_mmdet.progress import progress_bar

OnError = Literal["stop", "skip"]
DEFAULT_WRITERS = ("submission", "coco", "overlay")
_FAILED = "failed.csv"
_AS_IT_IS = ScaleChoice()
_BY_MEMORY = TileChoice()


@dataclass(frozen=True)
class Failure:
    """An image that was not predicted, a row of ``failed.csv``.

    Attributes:
        name: of the image in the run.
        path: of its file.
        reason: what went wrong.
    """

    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class InferenceSummary:
    """What a run found and wrote.

    Attributes:
        num_images: images predicted.
        num_cells: final instances of all images.
        num_resumed: images among them that an earlier run had finished.
        failures: images that were not predicted.
        warnings: what a user should know of single images.
        tally: what the post-processing left out.
        written: files and folders, each with what it is.
        sizes: of each image whose cells' size was estimated, their median diameter in pixels, None of too few cells,
            and the factor by which it was resized for that.
    """

    num_images: int
    num_cells: int
    num_resumed: int
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    tally: Tally
    written: Mapping[Path, str]
    sizes: tuple[tuple[float | None, float], ...] = ()

    def __str__(self) -> str:
        lines = [f"{path}: {what}" for path, what in self.written.items()]
        if sentence := self.tally.sentence():
            lines.append(sentence)
        if self.sizes:
            lines.append(size_sentence(self.sizes))
        last = f"{_count(self.num_cells, 'cell')} in {_count(self.num_images, 'image')}"
        if self.num_resumed:
            last += f", {self.num_resumed} of them finished by an earlier run"
        if self.failures:
            last += f"; {_count(len(self.failures), 'image')} failed, see {_FAILED}"
        return "\n".join([*lines, last])


def infer_images(
    model: ModelSource,
    tasks: Sequence[Task],
    out_dir: str | os.PathLike[str],
    *,
    write: Sequence[str] = DEFAULT_WRITERS,
    writer_options: Mapping[str, Mapping[str, Any]] | None = None,
    executor: str = "local",
    workers: int | None = None,
    batch_size: int = 1,
    on_error: OnError = "stop",
    resume: bool | None = None,
    selection: PlaneSelection | None = None,
    scale: ScaleChoice = _AS_IT_IS,
    tile: TileChoice = _BY_MEMORY,
) -> InferenceSummary:
    """Predict images and write what was found to ``out_dir``.

    Each finished image is kept in the folder at once, so that the same call goes on after an interruption; its results
    are then byte for byte those of a run that was not interrupted. Files of the whole run are written at the end, from
    what was kept, in the order of the tasks. Memory does not grow with the number of images.

    Args:
        model: such as `ModelSpec`.
        tasks: what is predicted, as `plan` returns it; the names of the images tell results apart.
        out_dir: folder of the run.
        write: names in `cellseg_mmdet.export.WRITERS`.
        writer_options: name of a writer -> its arguments, as ``{"submission": {"format": "dsb2018"}}``.
        executor: a name in `EXECUTORS`.
        workers: of the executor; by default as many as pays.
        batch_size: images of one size that the model sees at once; the results do not depend on it.
        on_error: what happens when an image cannot be predicted: 'stop' ends the run there, what is finished stays;
            'skip' goes on. Either way it is listed in ``failed.csv``.
        resume: None and True go on with a run of the same model and options in the folder, and refuse that of another;
            False removes what an earlier run wrote there.
        selection: planes of stacks.
        scale: size of the cells, to which images are resized before they are predicted.
        tile: whether large images are cut into tiles.

    Raises:
        OSError: nothing can be written to the folder.
        UsageError: the folder holds the results of another run.
        ConfigError: unknown writer or executor, or wrong options of a writer.
        ImageError: an image failed and ``on_error`` is 'stop', or all images failed.
        CheckpointError: the model cannot be loaded.
    """
    folder = Path(out_dir)
    with atomic_write(folder / _FAILED) as temporary:  # before hours of work: can it be written?
        temporary.write_text("")
    (folder / _FAILED).unlink()
    options = {name: dict(given) for name, given in (writer_options or {}).items()}
    of_images, of_run = _by_kind(write, options)
    works = EXECUTORS.get(executor)(workers=workers)
    job = Job(model, str(folder), of_images, options, batch_size, selection, scale, tile)
    identity = {**model.identity(), "selection of planes": repr(selection), "scale": repr(scale)}
    if not isinstance(tile.tile, str):  # scores of tiles differ in their last digits
        identity["tiles"] = str(tile.tile)
    with RunRecord(folder, tasks, identity, resume=resume) as record:
        _refuse_files_of_others(folder, of_images, tasks, record)
        num_resumed = len(record.finished)
        _complete(record, job, tasks)
        failures = _work(record, works, job, tasks, on_error)
        if not record.finished:
            raise ImageError(
                f"all of {_count(len(tasks), 'image')} failed; the first one: {failures[0].reason}"
            )
        written = _write(
            record, tasks, [(name, options.get(name, {})) for name in of_run], selection
        )
        for name, writer in image_writers(of_images, options, str(folder), record.classes).items():
            finished = record.finished.values()
            written |= writer.written(
                sum(len(one.files[name]) for one in finished),
                total(one.tallies.get(name, {}) for one in finished),
            ).files
        if failures:
            written[folder / _FAILED] = f"{_count(len(failures), 'image')} that failed, and why"
        kept = [record.finished[task.img_id] for task in tasks if task.img_id in record.finished]
    tally = Tally()
    for one in kept:
        tally.add(one.num_raw, one.left_out)
    return InferenceSummary(
        len(kept),
        sum(one.num_cells for one in kept),
        num_resumed,
        tuple(failures),
        tuple(one.warning for one in kept if one.warning),
        tally,
        written,
        tuple(one.size for one in kept if one.size is not None),
    )


def _by_kind(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the writers of single images, and of the others; each is built once, to try its options."""
    names = tuple(dict.fromkeys(names))
    of_images = tuple(name for name in names if is_image_writer(WRITERS.get(name)))
    for name in names:
        WRITERS.get(name)(**options.get(name, {}))
    return of_images, tuple(name for name in names if name not in of_images)


def _refuse_files_of_others(
    folder: Path, of_images: Sequence[str], tasks: Sequence[Task], record: RunRecord
) -> None:
    """Raise if a folder of pictures holds some that this run neither wrote nor will write."""
    ours = {
        path for one in record.finished.values() for paths in one.files.values() for path in paths
    }
    names = {task.key.name for task in tasks}
    for name in of_images:
        shared = folder / WRITERS.get(name).folder  # type: ignore[attr-defined]
        for path in sorted(shared.iterdir()) if shared.is_dir() else ():
            known = path.relative_to(folder).as_posix() in ours or path.stem in names
            if not known and not path.name.startswith("."):
                raise UsageError(
                    f"{shared} holds {path.name}, which is of no run that is known here: results would be mixed. "
                    "Give another --out-dir, or remove it"
                )


def _complete(record: RunRecord, job: Job, tasks: Sequence[Task]) -> None:
    """Write the files of finished images that an earlier run wrote otherwise or not at all, or that are gone."""
    options = {name: job.writer_options.get(name, {}) for name in job.image_writers}
    changed = record.other_options(options)
    for task in tasks:
        kept = record.finished.get(task.img_id)
        if kept is None:
            continue
        missing = [
            name
            for name in job.image_writers
            if not all((record.out_dir / path).exists() for path in kept.files.get(name, ("",)))
            or name not in kept.files
            or name in changed
        ]
        if missing:
            writers = image_writers(missing, job.writer_options, job.out_dir, record.classes)
            prediction = record.prediction(task)
            picture = Picture(task.key, job.selection)
            files, tallies = write_image(writers, prediction, picture, job.out_dir)
            kept_tallies = {
                name: kept.tallies[name] for name in kept.tallies if name not in missing
            }
            record.add(
                Outcome(
                    task,
                    prediction,
                    record.classes,
                    {**kept.files, **files},
                    kept.warning,
                    kept.num_raw,
                    kept.left_out,
                    size=kept.size,
                    tallies={**kept_tallies, **tallies},
                )
            )
    record.keep_options(options)


def _work(
    record: RunRecord, executor: Any, job: Job, tasks: Sequence[Task], on_error: OnError
) -> list[Failure]:
    """Work on the tasks that are not finished and return the failures, which are listed in ``failed.csv``."""
    left = [task for task in tasks if task.img_id not in record.finished]
    if not left:
        return []  # nor is the model loaded
    failures: dict[int, Failure] = {}
    try:
        with closing(executor.run(job, left)) as outcomes:
            done = len(tasks) - len(left)
            for outcome in progress_bar(
                outcomes, total=len(tasks), initial=done, description="predict"
            ):
                if not outcome.error:
                    record.add(outcome)
                    _say(outcome.warning)
                    continue
                key = outcome.task.key
                failures[outcome.task.img_id] = Failure(key.name, key.path, outcome.error)
                if on_error == "stop":
                    raise ImageError(outcome.error + _what_stays(record, tasks))
                _say(f"skipped {outcome.error}")
    except KeyboardInterrupt:
        _say(_what_stays(record, tasks).lstrip(". "))
        raise
    finally:
        listed = [failures[number] for number in sorted(failures)]
        if listed:
            write_records_csv(record.out_dir / _FAILED, Failure, listed)
    return listed


def _what_stays(record: RunRecord, tasks: Sequence[Task]) -> str:
    if len(tasks) == 1:
        return ""
    return f". {len(record.finished)} of {len(tasks)} images are finished: the same command goes on with the others"


def _write(
    record: RunRecord,
    tasks: Sequence[Task],
    writers: Sequence[tuple[str, Mapping[str, Any]]],
    selection: PlaneSelection | None,
) -> dict[Path, str]:
    """Write the files of the whole run, in the order of the tasks, and return what they are."""
    written: dict[Path, str] = {}
    built = [WRITERS.get(name)(**options) for name, options in writers]
    with opened(built, record.out_dir, record.classes):
        for task in tasks:
            if task.img_id in record.finished:
                prediction, picture = record.prediction(task), Picture(task.key, selection)
                for writer in built:
                    writer.add(prediction, picture)
        for writer in built:
            written |= writer.close().files
    record.written(written)
    return written


def _say(message: str) -> None:
    if message:
        print(message, file=sys.stderr)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
