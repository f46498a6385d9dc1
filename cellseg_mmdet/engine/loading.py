"""Data loaders whose workers say what they have: a worker that is killed ends the run with the image's name."""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from cellseg_mmdet.errors import CellsegError, WorkerError
from cellseg_mmdet.processes import end_with_parent

# What a DataLoader is made of, besides data set and samplers.
_SETTINGS = (
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
    "pin_memory_device",
)
_LOST = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)", re.DOTALL)


def seed_generators(words: Sequence[int], *, devices: bool = False) -> None:
    """Seed Python's, numpy's and torch's global generators from some non-negative integers.

    Args:
        words: any other ones give independent random numbers (`numpy.random.SeedSequence`); no zeros at the end, which
            count as nothing.
        devices: seed those of accelerators as well.
    """
    state = np.random.SeedSequence(words).generate_state(8)
    random.seed(state[:4].tobytes())
    np.random.seed(state[4:])
    seed = int.from_bytes(state[:2].tobytes(), "little")
    if devices:
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def kept_generators() -> Iterator[None]:
    """Give Python's, numpy's and torch's (CPU) generators their state back at the end of a block."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class WatchedDataset(Dataset):
    """A data set that notes which sample each worker has, and draws each one's random numbers from a seed of its own.

    It is asked for ``index``, or for ``(index, words)``: then what transforms draw depends on the words alone, not on
    the worker or on what it loaded before. All else is that of the data set itself.

    Args:
        dataset: with items by index.
        num_workers: of the loader.
    """

    def __init__(self, dataset: Any, num_workers: int) -> None:
        at = torch.full((num_workers, 2), -1, dtype=torch.int64)  # of each worker: process, index
        # Past `__setattr__`, which is that of the data set.
        self.__dict__.update(_dataset=dataset, _at=at.share_memory_() if num_workers else at)

    def __getitem__(self, key: Any) -> Any:
        index, words = key if isinstance(key, tuple) else (key, None)
        worker = get_worker_info()
        if worker is not None:
            self._at.numpy()[worker.id] = os.getpid(), index
        if words is None:
            return self._dataset[index]
        # The training itself draws from the generators of its process.
        with kept_generators() if worker is None else contextlib.nullcontext():
            seed_generators(words)
            return self._dataset[index]

    def __len__(self) -> int:
        return len(self._dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_dataset" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._dataset, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._dataset, self._at)

    def had_by(self, pid: int) -> int | None:
        """Return the index that a worker process had last; None if it is none of ours, or had nothing."""
        for process, index in self._at.tolist():
            if process == pid:
                return index
        return None


def _restored(dataset: Any, at: torch.Tensor) -> WatchedDataset:
    watched = WatchedDataset(dataset, 0)
    watched.__dict__["_at"] = at
    return watched


def watched_loader(loader: Any, batch_sampler: Any = None) -> Any:
    """Return a loader as the one given, of a `WatchedDataset`, whose workers end with this process.

    A loader of a kind of its own, or of an iterable data set, is returned as it is.

    Args:
        loader: before its workers are started.
        batch_sampler: to take the place of its own.
    """
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset):
        return loader
    settings = {name: getattr(loader, name) for name in _SETTINGS}
    if hasattr(loader, "in_order"):
        settings["in_order"] = loader.in_order
    if batch_sampler is not None:
        settings["batch_sampler"] = batch_sampler
    elif loader.batch_size is not None or loader.batch_sampler is None:
        settings.update(
            batch_size=loader.batch_size, sampler=loader.sampler, drop_last=loader.drop_last
        )
    else:
        settings["batch_sampler"] = loader.batch_sampler
    dataset = loader.dataset
    if not isinstance(dataset, WatchedDataset):
        dataset = WatchedDataset(dataset, loader.num_workers)
    begin = partial(_begin_loading, parent_pid=os.getpid(), then=loader.worker_init_fn)
    return DataLoader(dataset, worker_init_fn=begin, **settings)


def _begin_loading(worker_id: int, *, parent_pid: int, then: Any) -> None:
    end_with_parent(parent_pid)
    if then is not None:
        then(worker_id)


class WatchLoaders(Hook):
    """Has the workers of validation and test note what they load, as those of training do."""

    priority = "LOWEST"

    def before_train(self, runner: Any) -> None:
        self._watch(runner.train_loop)

    def before_val(self, runner: Any) -> None:
        self._watch(runner.val_loop)

    def before_test(self, runner: Any) -> None:
        self._watch(runner.test_loop)

    @staticmethod
    def _watch(loop: Any) -> None:
        # A loop with an iterator of its own made it of the loader that it has.
        if not (hasattr(loop, "dataloader_iterator") or _is_watched(loop.dataloader)):
            loop.dataloader = watched_loader(loop.dataloader)


@contextlib.contextmanager
def naming_lost_items(runner: Any) -> Iterator[None]:
    """Tell in a line of a worker of a data loader that was killed, or of an error of the data that it met.

    Raises:
        WorkerError: a worker was killed; the image that it had is named.
    """
    try:
        yield
    except RuntimeError as error:
        # The loader notices the end, and torch's handler of SIGCHLD, a cause of it or not, says which signal it was.
        found = [_LOST.search(str(one)) for one in (error, error.__cause__, error.__context__)]
        lost = [one for one in found if one is not None]
        if not lost:
            raise
        raise _loss(max(lost, key=lambda one: "signal" in one[2]), runner) from error
    except (CellsegError, OSError) as error:
        told = _of_worker(error)
        if told is None:
            raise
        raise type(error)(told) from error


def _loss(lost: re.Match[str], runner: Any) -> WorkerError:
    items = [name for pid in re.findall(r"\d+", lost[1]) for name in _items_of(runner, int(pid))]
    how = " ".join(lost[2].split()).rstrip(".")
    how = how.replace("is killed by signal: Killed", "was killed (out of memory, most likely)")
    where = ", ".join(items) or "loading data"
    return WorkerError(
        f"{where}: the process that loaded it {how}. Look at this image; where memory is short, load with fewer "
        "processes: --cfg-options train_dataloader.num_workers=1 (val_dataloader, test_dataloader; 0, with "
        "persistent_workers=False, loads in the main process); in a container, give more shared memory (/dev/shm)"
    )


def _items_of(runner: Any, pid: int) -> Iterator[str]:
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        dataset: Any = getattr(getattr(loop, "dataloader", None), "dataset", None)
        index = dataset.had_by(pid) if isinstance(dataset, WatchedDataset) else None
        if index is not None:
            info = dataset.get_data_info(index) if hasattr(dataset, "get_data_info") else {}
            yield str(info.get("img_path", f"sample {index}"))


def _is_watched(loader: Any) -> bool:
    return isinstance(getattr(loader, "dataset", None), WatchedDataset)


def _of_worker(error: Exception) -> str | None:
    """Return the message of an exception that a DataLoader brought from a worker; None if it is none.

    It makes the whole traceback of the worker a message, whose last part is what was raised.
    """
    text = str(error)
    if not re.match(r"Caught \w+ in DataLoader worker", text):
        return None
    found = list(re.finditer(rf"^(?:\w+\.)*{type(error).__name__}: ", text, re.MULTILINE))
    return text[found[-1].end() :].strip() if found else None
