"""Search for the best numbers on all images, and estimate on held-out ones what they are worth."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import Trial

from cellseg_mmdet.converters.splits import assign_folds
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImagePrediction, ImageRecord
from cellseg_mmdet.tuning.result import Result
from cellseg_mmdet.tuning.scorer import Pending, Scorer
from cellseg_mmdet.tuning.search import Search, open_storage
from cellseg_mmdet.tuning.space import Parameter, Steps, Values, with_values


@dataclass(frozen=True, eq=False)
class Task:
    """What to tune, and on what.

    Attributes:
        predictions: N raw predictions.
        records: what is annotated in the same N images.
        steps: the post-processing list.
        classes: class names by label.
        parameters: the numbers of the list to search for, at least one.
        note: what the user is told of numbers that are not searched for.
        about: all that the scores depend on, of JSON types; a search that goes on must be about the same.
    """

    predictions: Sequence[ImagePrediction]
    records: Sequence[ImageRecord]
    steps: Steps
    classes: tuple[str, ...] | None
    parameters: Sequence[Parameter]
    about: dict[str, Any]
    note: str = ""

    def with_values(self, values: Values) -> Steps:
        """Return the list with these numbers."""
        return with_values(self.steps, self.parameters, values)

    def about_numbers(self) -> str:
        """Return lines that say which numbers are searched for."""
        names = ", ".join(parameter.name for parameter in self.parameters)
        text = f"numbers to search for: {names}"
        if len(self.classes or ()) < 2:
            text += "\nthe model has one class: its numbers are those of all cell types"
        if self.note:
            text += f"\n{self.note}"
        return text


@dataclass(frozen=True, eq=False)
class _Part:
    """A search, and the numbers of the images that it looks at."""

    search: Search
    images: np.ndarray


def tune(
    task: Task,
    storage: str | os.PathLike[str],
    *,
    num_trials: int = 200,
    timeout_s: float | None = None,
    num_folds: int = 2,
    jobs: int = 1,
) -> Result:
    """Search on all images, and as many times as there are folds on those outside of one, which is then scored.

    The held-out score of an image is that with the numbers found without it: it says what the whole
    procedure gains on images it has not seen, and the score on the images searched on does not.
    Folds are stratified by cell type and cut no group (`assign_folds`).

    Args:
        storage: file that keeps the searches; what is in it counts.
        num_trials: lists that each search scores, the one given included.
        timeout_s: stop sooner, after so many seconds.
        num_folds: at least 2.
        jobs: processes that score; they change no result.

    Raises:
        UsageError: if the file holds a search about something else.
        ValueError: for more folds than (groups of) images, or if a step cannot work on the
            predictions.
    """
    folds = assign_folds(task.records, num_folds)
    kept_out = [np.flatnonzero(folds == fold) for fold in range(num_folds)]
    everything = np.arange(len(folds))
    looked_at: dict[str, np.ndarray] = {"all": everything}
    for fold, images in enumerate(kept_out, start=1):
        looked_at[f"without fold {fold} of {num_folds}"] = np.setdiff1d(everything, images)
    journal = open_storage(storage)
    try:
        parts = [
            _Part(Search(journal, name, task.parameters, task.about), images)
            for name, images in looked_at.items()
        ]
    except UsageError as error:
        raise UsageError(
            f"{storage}: {error}; go on with what began it, or remove it, or choose another --out"
        ) from error

    first_step = min(parameter.step for parameter in task.parameters)
    with Scorer(
        task.predictions, task.records, task.steps, first_step, task.classes, jobs
    ) as scorer:
        _search(task, parts, scorer, num_trials, timeout_s)
        settling = progress_bar(parts, description="settling", unit="search")
        found, *found_without = [_settle(task, part, scorer) for part in settling]
        held_out = np.empty(len(folds))
        for values, images in zip(found_without, kept_out, strict=True):
            held_out[images] = scorer.score(task.with_values(values), images)
        return Result(
            steps=task.with_values(found),
            cell_types=[record.cell_type for record in task.records],
            before=scorer.score(task.steps, everything),
            after=scorer.score(task.with_values(found), everything),
            held_out=held_out,
            start=parts[0].search.start,
            found=found,
            found_without=found_without,
            num_trials=min(part.search.num_tried for part in parts),
        )


def _search(
    task: Task, parts: Sequence[_Part], scorer: Scorer, num_trials: int, timeout_s: float | None
) -> None:
    """Try lists, of all searches in turn, until each has tried its number of them or the time is over."""
    num_left = sum(max(0, num_trials - part.search.num_tried) for part in parts)
    trials = _trials(task, parts, scorer, num_trials, timeout_s)
    bar: Any = progress_bar(trials, total=num_left, description="searching", unit="trial")
    for _ in bar:
        if parts[0].search.num_tried:
            bar.set_postfix(best=f"{parts[0].search.best[1]:.4f}", refresh=False)


def _trials(
    task: Task, parts: Sequence[_Part], scorer: Scorer, num_trials: int, timeout_s: float | None
) -> Iterator[None]:
    """Yield after each trial.

    Every search waits for the score of its last trial before it asks for the next. Meanwhile the
    workers have those of the others to do.
    """
    begin = time.monotonic()
    scored = deque(part for part in parts if part.search.num_tried < num_trials)
    working: deque[tuple[_Part, Trial | None, Pending]] = deque()
    while scored or working:
        while scored:
            part = scored.popleft()
            values, trial = part.search.ask()
            pending = scorer.submit(task.with_values(values), part.images)
            working.append((part, trial, pending))
        part, trial, pending = working.popleft()
        part.search.tell(trial, pending.wait().mean())
        is_late = timeout_s is not None and time.monotonic() - begin > timeout_s
        if part.search.num_tried < num_trials and not is_late:
            scored.append(part)
        yield


def _settle(task: Task, part: _Part, scorer: Scorer) -> Values:
    """Return the best numbers, each set back to what the list says if that scores no less.

    What plays no part would else be left where chance put it.
    """
    values, best = part.search.best
    for name, start in part.search.start.items():
        without = values | {name: start}
        if without != values:
            score = scorer.score(task.with_values(without), part.images).mean()
            if score >= best:
                values, best = without, score
    return values
