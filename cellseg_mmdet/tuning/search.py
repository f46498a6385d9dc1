"""Which numbers to try next, from what the tried ones scored: Optuna's studies, kept on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cellseg_mmdet.errors import DataError, UsageError, needs
from cellseg_mmdet.fileio import HAS_LOCKS, lock_file
from cellseg_mmdet.tuning.space import Parameter, Values

with needs("tune"):
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, Trial, create_trial

_BEGIN_OF_JOURNAL = b'{"op_code":'
# What a study keeps to be recognised by.
_ABOUT = "about"

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Search:
    """A search for the numbers with the highest score; what was tried before is read from the storage.

    The first numbers tried are those of the list itself, so that the best never score lower. Then
    TPE (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011) draws one
    number after the other, the rest being the best so far, and after each round all at once: most
    numbers, above all those of different classes, hardly depend on each other, and what all score
    together says little about one. A search that was stopped and goes on tries what it would have
    tried.

    Args:
        storage: of one or several searches, see `open_storage`.
        name: of this one.
        parameters: what to search for.
        about: all that the scores depend on, of JSON types.

    Attributes:
        start: the numbers of the list itself.

    Raises:
        UsageError: if the storage holds a search of this name about something else.
    """

    def __init__(
        self,
        storage: JournalStorage,
        name: str,
        parameters: Sequence[Parameter],
        about: Mapping[str, Any],
    ) -> None:
        self._parameters = parameters
        self.start = {parameter.name: parameter.start for parameter in parameters}
        self._kept = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        about = json.loads(json.dumps(about))  # as it comes back from the file: a tuple as a list
        kept = self._kept.user_attrs.get(_ABOUT)
        if kept is None:
            self._kept.set_user_attr(_ABOUT, about)
        elif kept != about:
            other = [key for key in about if kept.get(key) != about[key]]
            raise UsageError(f"it holds a search with other {' and '.join(other)}")
        # The file is written, and synced to the disk, once per trial; Optuna would do so for each number.
        self._study = optuna.create_study(direction="maximize")
        self._study.add_trials(self._kept.trials)
        self._tried = [self._scored(trial) for trial in self._kept.trials]

    @property
    def num_tried(self) -> int:
        return len(self._tried)

    @property
    def best(self) -> tuple[Values, float]:
        """The numbers with the highest score, of equal ones the first, and that score; one must be tried."""
        return max(self._tried, key=lambda scored: scored[1])

    def ask(self) -> tuple[Values, Trial | None]:
        """Return numbers to try, and what `tell` needs to know of them."""
        if not self._tried:
            return self.start, None
        # A generator per trial: what is drawn does not depend on whether the search was stopped before.
        self._study.sampler = optuna.samplers.TPESampler(seed=self.num_tried)
        trial = self._study.ask(self._distributions())
        return self._rounded(trial.params), trial

    def tell(self, trial: Trial | None, score: float) -> None:
        """Keep the score of what `ask` returned."""
        if trial is not None:
            tried = self._study.tell(trial, score)
        else:
            distributions = {one.name: _distribution(one) for one in self._parameters}
            tried = create_trial(params=self.start, distributions=distributions, value=score)
            self._study.add_trial(tried)
        self._kept.add_trial(tried)
        self._tried.append(self._scored(tried))

    def _distributions(self) -> dict[str, BaseDistribution]:
        """Return where to draw the next numbers from: those whose turn it is not only from the best so far."""
        num_parameters = len(self._parameters)
        turn = (self.num_tried - 1) % (num_parameters + 1)
        best, _ = self.best
        return {
            one.name: _distribution(one)
            if turn in (index, num_parameters)
            else _distribution(replace(one, low=best[one.name], high=best[one.name]))
            for index, one in enumerate(self._parameters)
        }

    def _scored(self, trial: FrozenTrial) -> tuple[Values, float]:
        assert trial.value is not None  # only such trials are kept
        return self._rounded(trial.params), trial.value

    def _rounded(self, params: Mapping[str, float]) -> Values:
        return {one.name: one.rounded(params[one.name]) for one in self._parameters}


def open_storage(path: str | os.PathLike[str]) -> JournalStorage:
    """Open the file of searches, or make it.

    Raises:
        DataError: if the file is damaged, or something else.
    """
    name = os.path.abspath(path)
    try:
        _drop_half_line(name)
        return JournalStorage(JournalFileBackend(name, _KernelLock(name) if HAS_LOCKS else None))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no file of a search, or damaged: {error!r}") from error


class _KernelLock(JournalFileOpenLock):
    """A lock that the kernel releases when its process ends; Optuna's own, a link, outlives a kill."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self._handle = -1

    def acquire(self) -> bool:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        lock_file(handle, wait=True)
        self._handle = handle
        return True

    def release(self) -> None:
        os.close(self._handle)


def _drop_half_line(path: str) -> None:
    """Cut off what a killed search wrote of its last line; Optuna would refuse the file."""
    if not os.path.isfile(path):
        return
    with open(path, "r+b") as file:
        lock_file(file.fileno(), wait=True)
        content = file.read()
        if content.startswith(_BEGIN_OF_JOURNAL) and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
