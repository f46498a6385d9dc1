"""Scores of many post-processing lists on the same images."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from cellseg_mmdet.errors import WorkerError
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.processes import begin_worker
from cellseg_mmdet.structures import ImagePrediction, ImageRecord
from cellseg_mmdet.tuning.decoding import Decoder
from cellseg_mmdet.tuning.space import Steps, split_code

Result = TypeVar("Result")

# The images of a worker: a process has one thread that works, and a thread its own of these.
_worker = threading.local()


@dataclass(frozen=True)
class Pending:
    """The scores of some images, which may still be worked on."""

    images: np.ndarray
    parts: list[tuple[_Worker, Future[dict[int, float]]]]

    def wait(self) -> np.ndarray:
        """Return the score (N,) of each image.

        Raises:
            WorkerError: a worker process was killed; the image that it had is named.
        """
        scores: dict[int, float] = {}
        for worker, part in self.parts:
            found: dict[int, float] = worker.result_of(part)
            scores |= found
        return np.array([scores[image] for image in self.images.tolist()])


class Scorer:
    """`kaggle_map` of images that are spread once over workers and stay there; a context manager.

    The lists to score begin all with the same steps, which are applied once. Which worker scores an
    image plays no part in the result.

    Args:
        predictions: N raw predictions.
        records: what is annotated in the same N images.
        steps: a list to score, and
        shared_steps: how many of its first steps are those of all lists.
        classes: class names by label.
        jobs: processes; 1 for a thread of this one.

    Raises:
        ValueError: if a step cannot work on the predictions.
        WorkerError: a worker process was killed; the image that it had is named.
    """

    def __init__(
        self,
        predictions: Sequence[ImagePrediction],
        records: Sequence[ImageRecord],
        steps: Steps,
        shared_steps: int,
        classes: Sequence[str] | None,
        jobs: int,
    ) -> None:
        self._classes, self._shared_steps = classes, shared_steps
        # Dealt out by size, so that all have about the same to do.
        largest_first = np.argsort([-len(prediction) for prediction in predictions], kind="stable")
        hands = [largest_first[job::jobs] for job in range(min(jobs, len(predictions)))]
        self._worker_of = np.empty(len(predictions), dtype=np.int64)
        names = [prediction.image_id for prediction in predictions]
        self._workers = [_Worker(names, in_process=len(hands) > 1) for _ in hands]
        taken = []
        for number, (worker, hand) in enumerate(zip(self._workers, hands, strict=True)):
            self._worker_of[hand] = number
            pairs = {image: (predictions[image], records[image]) for image in hand.tolist()}
            taken.append(worker.submit(_take, pairs, steps, shared_steps, classes))
        try:
            for worker, one in zip(self._workers, taken, strict=True):
                worker.result_of(one)
        except BaseException:
            self.close()
            raise

    def submit(self, steps: Steps, images: np.ndarray) -> Pending:
        """Begin to score a list on some images, given by their numbers."""
        parts = []
        for number, worker in enumerate(self._workers):
            own = images[self._worker_of[images] == number].tolist()
            if own:
                part = worker.submit(_score, steps, self._shared_steps, self._classes, own)
                parts.append((worker, part))
        return Pending(images, parts)

    def score(self, steps: Steps, images: np.ndarray) -> np.ndarray:
        """Return the scores (N,) of a list on some images, given by their numbers."""
        return self.submit(steps, images).wait()

    def close(self) -> None:
        """Stop the workers; what they have not begun is dropped."""
        for worker in self._workers:
            worker.executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Worker:
    """A process, or a thread of this one, that keeps its images; says which one it had when it was killed."""

    def __init__(self, names: Sequence[str], *, in_process: bool) -> None:
        self._names = names
        self.executor: Executor
        if not in_process:
            self._at: Any = None
            self.executor = ThreadPoolExecutor(1)
            return
        # Spawned, not forked: OpenCV's and torch's thread pools do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._at = context.RawValue("q", -1)
        self.executor = ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(os.getpid(), self._at)
        )

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        try:
            return self.executor.submit(function, *arguments)
        except BrokenProcessPool:
            raise self._loss() from None

    def result_of(self, future: Future[Result]) -> Result:
        try:
            return future.result()
        except BrokenProcessPool:
            raise self._loss() from None

    def _loss(self) -> WorkerError:
        at = self._at.value
        where = self._names[at] if at >= 0 else "tuning"
        return WorkerError(
            f"{where}: the worker process that had it was killed (out of memory, most likely). "
            "Run with fewer --jobs; what was tried so far is kept, and the same command goes on from there"
        )


def _begin(parent_pid: int, at: Any) -> None:
    begin_worker(parent_pid)
    _worker.at = at


def _work_on(image: int) -> None:
    """Note which image this worker has, for the error if it is killed."""
    at = getattr(_worker, "at", None)
    if at is not None:
        at.value = image


def _take(
    pairs: dict[int, tuple[ImagePrediction, ImageRecord]],
    steps: Steps,
    shared_steps: int,
    classes: Sequence[str] | None,
) -> None:
    """Keep the images of this worker, after the steps that all lists share."""
    _, listed = split_code(steps)
    pipeline = build_pipeline(listed, classes)
    shared = replace(pipeline, steps=pipeline.steps[:shared_steps])
    _worker.images = {}
    _worker.decoder = Decoder()
    for image, (prediction, record) in pairs.items():
        _work_on(image)
        _worker.images[image] = (shared(prediction), record.masks)


def _score(
    steps: Steps, shared_steps: int, classes: Sequence[str] | None, images: list[int]
) -> dict[int, float]:
    code, listed = split_code(steps)
    pipeline = build_pipeline(listed, classes)
    rest = replace(pipeline, steps=pipeline.steps[shared_steps:])
    scores = {}
    for image in images:
        _work_on(image)
        prediction, true = _worker.images[image]
        if code is not None:
            prediction = _worker.decoder(image, prediction, code)
        scores[image] = image_score(Overlaps(rest(prediction).masks, true))
    return scores
