"""Scores of many post-processing lists on the same images."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import ImagePrediction, ImageRecord
from cellseg_mmdet.tuning.space import Steps

# The images of a worker: a process has one thread that works, and a thread its own of these.
_worker = threading.local()


@dataclass(frozen=True)
class Pending:
    """The scores of some images, which may still be worked on."""

    images: np.ndarray
    parts: list[Future[dict[int, float]]]

    def wait(self) -> np.ndarray:
        """Return the score (N,) of each image."""
        scores: dict[int, float] = {}
        for part in self.parts:
            scores |= part.result()
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
        self._workers = [_start_worker(in_process=len(hands) > 1) for _ in hands]
        taken = []
        for number, (worker, hand) in enumerate(zip(self._workers, hands, strict=True)):
            self._worker_of[hand] = number
            pairs = {image: (predictions[image], records[image]) for image in hand.tolist()}
            taken.append(worker.submit(_take, pairs, steps, shared_steps, classes))
        try:
            for one in taken:
                one.result()
        except BaseException:
            self.close()
            raise

    def submit(self, steps: Steps, images: np.ndarray) -> Pending:
        """Begin to score a list on some images, given by their numbers."""
        parts = []
        for number, worker in enumerate(self._workers):
            own = images[self._worker_of[images] == number].tolist()
            if own:
                parts.append(worker.submit(_score, steps, self._shared_steps, self._classes, own))
        return Pending(images, parts)

    def score(self, steps: Steps, images: np.ndarray) -> np.ndarray:
        """Return the scores (N,) of a list on some images, given by their numbers."""
        return self.submit(steps, images).wait()

    def close(self) -> None:
        """Stop the workers; what they have not begun is dropped."""
        for worker in self._workers:
            worker.shutdown(cancel_futures=True)

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _start_worker(*, in_process: bool) -> Executor:
    if not in_process:
        return ThreadPoolExecutor(1)
    # Spawned, not forked: OpenCV's and torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_leave_interrupt_to_parent)


def _leave_interrupt_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _take(
    pairs: dict[int, tuple[ImagePrediction, ImageRecord]],
    steps: Steps,
    shared_steps: int,
    classes: Sequence[str] | None,
) -> None:
    """Keep the images of this worker, after the steps that all lists share."""
    pipeline = build_pipeline(steps, classes)
    shared = replace(pipeline, steps=pipeline.steps[:shared_steps])
    _worker.images = {
        image: (shared(prediction), record.masks) for image, (prediction, record) in pairs.items()
    }


def _score(
    steps: Steps, shared_steps: int, classes: Sequence[str] | None, images: list[int]
) -> dict[int, float]:
    pipeline = build_pipeline(steps, classes)
    rest = replace(pipeline, steps=pipeline.steps[shared_steps:])
    scores = {}
    for image in images:
        prediction, true = _worker.images[image]
        scores[image] = image_score(Overlaps(rest(prediction).masks, true))
    return scores
