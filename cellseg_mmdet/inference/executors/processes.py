"""Tasks in several processes of this machine, each with its own copy of the model."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any

import cv2
import torch

from cellseg_mmdet.errors import CellsegError, UsageError
from cellseg_mmdet.inference.executors.executor import EXECUTORS, Executor, batches
from cellseg_mmdet.inference.tasks import Job, Outcome, Task, Worker
from cellseg_mmdet.progress import available_cores

# Spawned, not forked: the thread pools of OpenCV and torch do not survive a fork.
_SPAWN = get_context("spawn")
_READY, _OUTCOME, _DIED, _RAISED, _FAULT = "ready", "outcome", "died", "raised", "fault"


@EXECUTORS.register("processes")
class ProcessesExecutor(Executor):
    """Works in processes that share the cores, or the GPUs, of this machine.

    A process that dies, as of too little memory, is the failure of the image that it had at hand; another one goes on
    with the rest.

    Args:
        workers: processes; by default one a GPU, or one a core.
    """

    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        left = deque(batches(tasks, job.batch_size))
        count = min(self.workers or torch.cuda.device_count() or available_cores(), len(left))
        processes = [_Process(job, number, count) for number in range(count)]
        try:
            while processes:
                for one in _that_say_something(processes):
                    kind, content = one.receive()
                    if kind == _OUTCOME:
                        yield content
                    elif kind == _RAISED:
                        raise content
                    elif kind == _FAULT:
                        raise RuntimeError(f"a process of the run failed:\n{content}")
                    elif kind == _DIED and not one.is_ready:
                        raise UsageError(f"{content}, while it loaded the model")
                    elif kind == _DIED:
                        if one.tasks:
                            at_hand, *rest = one.tasks
                            yield Outcome(at_hand, error=f"{at_hand.key}: {content}")
                            left.extendleft([rest] if rest else [])
                        processes[processes.index(one)] = _Process(job, one.number, count)
                    elif left:
                        one.give(left.popleft())
                    else:
                        one.end()
                        processes.remove(one)
        finally:
            for one in processes:
                one.kill()


class _Process:
    """A process as its parent sees it.

    Attributes:
        number: of the process, from 0.
        tasks: what it was given and has not answered.
        is_ready: whether it has loaded the model.
    """

    def __init__(self, job: Job, number: int, count: int) -> None:
        self.number = number
        self.tasks: list[Task] = []
        self.is_ready = False
        self.pipe, other = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(job, number, count, other), daemon=True)
        self.process.start()
        other.close()  # its end must be open in the process only: then the pipe breaks when that dies

    def give(self, tasks: Sequence[Task]) -> None:
        self.tasks = list(tasks)
        # Who died meanwhile is found when its answer is asked for.
        with contextlib.suppress(OSError):
            self.pipe.send(list(tasks))

    def receive(self) -> tuple[str, Any]:
        """Return what it says; of a process that died, ``_DIED`` and how."""
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return _DIED, _how_it_died(self.process.exitcode)
        self.is_ready = True
        if kind == _OUTCOME:
            self.tasks = [task for task in self.tasks if task != content.task]
        return kind, content

    def end(self) -> None:
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _that_say_something(processes: Sequence[_Process]) -> list[_Process]:
    by_pipe = {id(one.pipe): one for one in processes}
    return [by_pipe[id(pipe)] for pipe in connection.wait([one.pipe for one in processes])]


def _how_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        cause = ", which the system sends when memory is full" if name == "SIGKILL" else ""
        return f"the process that predicted it was ended by {name}{cause}"
    return f"the process that predicted it ended with status {code}"


def _work(job: Job, number: int, count: int, pipe: Connection) -> None:
    """Answer what comes through the pipe, until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, who ends this process
    gpus = torch.cuda.device_count()
    if not gpus:
        threads = max(1, available_cores() // count)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    device = f"cuda:{number % gpus}" if gpus > 1 and job.model.device in (None, "cuda") else None
    try:
        # Of the workers on one GPU, or on the CPU, each has its part of the memory.
        worker = Worker(job, device, count if device is None else -(-count // gpus))
        pipe.send((_READY, None))
        while True:
            for outcome in worker(pipe.recv()):
                pipe.send((_OUTCOME, outcome))
            pipe.send((_READY, None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the parent has no more work, or has gone
    except (CellsegError, OSError) as error:
        pipe.send((_RAISED, error))
    except BaseException:
        pipe.send((_FAULT, traceback.format_exc()))
