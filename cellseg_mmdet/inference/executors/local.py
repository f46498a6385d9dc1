"""All tasks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cellseg_mmdet.inference.executors.executor import EXECUTORS, Executor, batches
from cellseg_mmdet.inference.tasks import Job, Outcome, Task, Worker


@EXECUTORS.register("local")
class LocalExecutor(Executor):
    """Works in this process; torch uses the cores there are."""

    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        worker = Worker(job)
        for batch in batches(tasks, job.batch_size):
            yield from worker(batch)
