"""What a run is made of: `plan` lists its tasks, `Worker` turns tasks into outcomes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cellseg_mmdet.errors import CellsegError, ImageError
from cellseg_mmdet.export import WRITERS, ImageWriter
from cellseg_mmdet.images import ImageKey, PlaneSelection, find_images
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.images.scale import ScaleChoice, resized_image, resized_prediction
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference.predictor import Predictor
from cellseg_mmdet.inference.size_estimate import FoundCells, find_at_estimated_size, found_cells
from cellseg_mmdet.inference.spec import ImagePredictor, ModelSource
from cellseg_mmdet.inference.tiled import TiledPredictor
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.terminal import told_in_a_line

# How the allocators of torch and OpenCV say that memory is full, in exceptions of no type of their own.
_OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "Insufficient memory")


@dataclass(frozen=True)
class Task:
    """One image to predict.

    Attributes:
        img_id: its number in the run, from 1.
        key: which image.
    """

    img_id: int
    key: ImageKey


@dataclass(frozen=True)
class Job:
    """All that a process needs to know to work on tasks of a run; it can be pickled.

    Attributes:
        model: which model.
        out_dir: folder of the run.
        image_writers: names of the `ImageWriter` that are called where an image is predicted.
        writer_options: name of a writer -> its arguments.
        batch_size: images of one size that the model sees at once; results do not depend on it.
        selection: planes of stacks.
        scale: size of the cells, to which images are resized before they are predicted.
        tile: whether large images are cut into tiles.
    """

    model: ModelSource
    out_dir: str
    image_writers: tuple[str, ...] = ()
    writer_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    batch_size: int = 1
    selection: PlaneSelection | None = None
    scale: ScaleChoice = field(default_factory=ScaleChoice)
    tile: TileChoice = field(default_factory=TileChoice)


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: which.
        prediction: the final instances; None if it failed.
        classes: class names of the model, by label.
        files: name of an image writer -> its files, relative to the folder of the run.
        warning: what a user should know of this image; '' for nothing.
        num_raw: instances before post-processing.
        left_out: type of a step of the post-processing -> instances that it left out.
        error: why it failed; '' if it did not.
        tallies: name of an image writer -> numbers about this image, see `ImageWriter.tally`.
        size: median diameter of its cells in pixels, None of too few cells, and the factor by which it was resized for
            that; None if that was not estimated.
    """

    task: Task
    prediction: ImagePrediction | None = None
    classes: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warning: str = ""
    num_raw: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    tallies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    size: tuple[float | None, float] | None = None


def plan(
    paths: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    selection: PlaneSelection | None = None,
    out_dir: str | os.PathLike[str] | None = None,
) -> list[Task]:
    """Return a task for each image that is named, or lies in a folder that is named; see `find_images`.

    Args:
        paths: images and folders of images.
        recursive: search sub-folders as well.
        selection: planes of stacks.
        out_dir: folder of the run: what is written there is not taken for input.
    """
    made = [] if out_dir is None else [Path(out_dir) / folder for folder in _image_folders()]
    keys = find_images(paths, recursive=recursive, selection=selection, exclude=made)
    return tasks_of(keys)


def tasks_of(keys: Sequence[ImageKey]) -> list[Task]:
    """Return a task for each image, numbered from 1."""
    return [Task(number, key) for number, key in enumerate(keys, start=1)]


def _image_folders() -> list[str]:
    parts = [WRITERS.get(name) for name in WRITERS.names()]
    return [part.folder for part in parts if is_image_writer(part)]  # type: ignore[attr-defined]


def is_image_writer(part: Any) -> bool:
    """Return whether what `WRITERS` holds writes files of their own for each image."""
    return isinstance(part, type) and issubclass(part, ImageWriter)


def image_writers(
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    out_dir: str,
    classes: Sequence[str],
) -> dict[str, ImageWriter]:
    """Return image writers by name, opened."""
    writers: dict[str, ImageWriter] = {}
    for name in names:
        writer = WRITERS.get(name)(**options.get(name, {}))
        assert isinstance(writer, ImageWriter)
        writer.open(out_dir, classes)
        writers[name] = writer
    return writers


def write_image(
    writers: Mapping[str, ImageWriter], prediction: ImagePrediction, picture: Picture, out_dir: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, dict[str, float]]]:
    """Write the files of an image; return them by writer, relative to the folder of the run, and what was counted."""
    files, tallies = {}, {}
    for name, writer in writers.items():
        writer.tally = {}
        paths = writer.write(prediction, picture)
        # What goes into the picture's own folder may lie anywhere.
        files[name] = tuple(Path(os.path.relpath(path, out_dir)).as_posix() for path in paths)
        if writer.tally:
            tallies[name] = dict(writer.tally)
    return files, tallies


class Worker:
    """A job with its model at hand: ``worker(tasks)`` yields their outcomes, in order.

    A failure of one image is its outcome; a failure to write is an OSError.

    Args:
        job: what to do.
        device: where the model computes; that of the job by default.
        sharing: workers that share the memory of the device.
    """

    def __init__(self, job: Job, device: str | None = None, sharing: int = 1) -> None:
        self._job = job
        self.model: ImagePredictor = job.model.load(device)
        self._trained_px: float | None = None
        if job.scale.is_automatic:
            self._trained_px = job.scale.trained_px(self.model.cell_scale)
        self._writers = image_writers(
            job.image_writers, job.writer_options, job.out_dir, self.model.classes
        )
        self._tiled: TiledPredictor | None = None
        if isinstance(self.model, Predictor):
            self._tiled = self.model.tiled(job.tile, job.out_dir, sharing)

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yield the outcomes of tasks whose images are read one by one, and predicted in batches of one size."""
        batch: list[tuple[Task, Picture]] = []
        for task in tasks:
            picture = Picture(task.key, self._job.selection)
            try:
                is_tiled = self._is_tiled(picture)
                if not is_tiled:
                    shape = picture.image.pixels.shape
            except Exception as error:
                yield from self._predicted(batch)  # the order is kept
                batch = []
                yield Outcome(task, error=_failure(task, error))
                continue
            # Padding an image to the size of another would change its predictions.
            if batch and (is_tiled or batch[0][1].shape != shape):
                yield from self._predicted(batch)
                batch = []
            batch.append((task, picture))
            if is_tiled:
                yield from self._predicted(batch)
                batch = []
        yield from self._predicted(batch)

    def _predicted(self, batch: Sequence[tuple[Task, Picture]]) -> Iterator[Outcome]:
        if not batch:
            return
        try:
            raws = self._raw([picture for _, picture in batch])
            found = [
                self._found(picture, raw) for (_, picture), raw in zip(batch, raws, strict=True)
            ]
            finals = [
                self._final(task, picture, cells.final)
                for (task, picture), (cells, _) in zip(batch, found, strict=True)
            ]
        except Exception as error:
            if len(batch) == 1:
                yield Outcome(batch[0][0], error=_failure(batch[0][0], error, batch[0][1]))
            elif _is_out_of_memory(error) or isinstance(error, CellsegError):
                for one in batch:  # whose fault it is, and what fits one by one
                    yield from self._predicted([one])
            else:
                raise
            return
        for (task, picture), (cells, size), final in zip(batch, found, finals, strict=True):
            files, counted = write_image(self._writers, final, picture, self._job.out_dir)
            yield Outcome(
                task,
                final,
                self.model.classes,
                files,
                self._warning(task, cells.raw),
                cells.tally.num_raw,
                dict(cells.tally.left_out),
                size=size,
                tallies=counted,
            )

    def _factors_yx(self, picture: Picture) -> tuple[float, float]:
        return self._job.scale.factors_yx(self.model.cell_scale, picture.pixel_size_um)

    def _is_tiled(self, picture: Picture) -> bool:
        return self._tiled is not None and self._tiled.applies(
            picture.size_hw, self._factors_yx(picture)
        )

    def _raw(self, pictures: Sequence[Picture]) -> list[ImagePrediction]:
        if self._is_tiled(pictures[0]):
            (picture,) = pictures
            return [self._predict(picture, self._factors_yx(picture))]
        seen = {
            _file_name(picture): resized_image(picture.image, self._factors_yx(picture))
            for picture in pictures
        }
        return self.model.predict(seen)

    def _predict(self, picture: Picture, factors_yx: tuple[float, float]) -> ImagePrediction:
        """Return the raw prediction of one picture resized by factors, in tiles where it would be too large."""
        if self._tiled is not None and self._tiled.applies(picture.size_hw, factors_yx):
            with picture.opened() as source:
                return self._tiled.predict(source, _file_name(picture), factors_yx)
        (raw,) = self.model.predict({_file_name(picture): resized_image(picture.image, factors_yx)})
        return raw

    def _found(
        self, picture: Picture, raw: ImagePrediction
    ) -> tuple[FoundCells, tuple[float | None, float] | None]:
        """Return what is found, post-processed, at the scale that was asked for, or at the one that fits the cells."""
        # The numbers of the post-processing are those of the scale that the model was trained at.
        if self._trained_px is None:
            return found_cells(self.model, raw), None
        estimate = find_at_estimated_size(
            self.model,
            picture.size_hw,
            partial(self._predict, picture),
            self._trained_px,
            first=raw,
            window=picture.part if self._is_tiled(picture) else None,
        )
        return estimate.look.found, (estimate.diameter_px, estimate.factor)

    def _final(self, task: Task, picture: Picture, found: ImagePrediction) -> ImagePrediction:
        final = resized_prediction(found, picture.size_hw)
        return replace(final, img_id=task.img_id, img_path=task.key.path)

    def _warning(self, task: Task, raw: ImagePrediction) -> str:
        notes = self._tiled.pop_notes() if self._tiled is not None else []
        if self.model.cap is None or len(raw) < self.model.cap[1]:
            return "; ".join(f"{task.key}: {note}" for note in notes)
        setting, cap = self.model.cap
        return (
            f"{task.key}: {len(raw):,} cells before post-processing, as many as {setting} = {cap} allows; "
            "there may be more: set it higher with --cfg-options"
        )


def _file_name(picture: Picture) -> str:
    """Return the name of a picture for the model; a prediction is named by its stem."""
    return f"{picture.key.name}.image"


def _failure(task: Task, error: Exception, picture: Picture | None = None) -> str:
    """Return why an image failed; an error that is a fault of the program is raised again."""
    if _is_out_of_memory(error):
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = ""
        if picture is not None:
            size = " x ".join(str(side) for side in picture.size_hw) + " pixels: "
        return f"{task.key}: {size}memory is full; give a smaller --scale or --batch-size, or more memory"
    told = told_in_a_line(error) if isinstance(error, CellsegError | OSError) else None
    if told is None:
        raise error
    if task.key.path in told:
        return told
    return f"{task.key}: {told}"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, ImageError):
        return False
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        any(words in str(error) for words in _OUT_OF_MEMORY)
    )
