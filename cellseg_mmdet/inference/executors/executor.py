"""What an executor is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from cellseg_mmdet.inference.tasks import Job, Outcome, Task
from cellseg_mmdet.registry import Registry


class Executor(ABC):
    """Works on tasks somewhere; a new one is a subclass in a file of its own in this folder.

    Args:
        workers: how many work at once; by default as many as pays.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    @abstractmethod
    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yield the outcome of each task once, in any order.

        Whoever stops before the end closes the iterator, which ends all work.

        Raises:
            CellsegError: the model cannot be loaded.
            OSError: the files of an image cannot be written.
        """


EXECUTORS: Registry[Executor] = Registry("executor")


def batches(tasks: Sequence[Task], size: int) -> Iterator[Sequence[Task]]:
    """Yield the tasks in their order, ``size`` at a time."""
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]
