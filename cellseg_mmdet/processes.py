"""Worker processes that end with their parent, and whose death is told with what they worked on."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

from cellseg_mmdet.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CHUNKS_PER_WORKER = 16
_MAX_NAME_LENGTH = 200
_NAMING_KEYS = ("path", "file_name", "image_path", "img_path", "image_id", "name", "stem")


def end_with_parent(parent_pid: int | None = None) -> None:
    """Have the kernel kill this process when the one that started it ends, however that happens.

    A worker that waits for work would else wait for ever after its parent was killed. Linux only; elsewhere nothing is
    done.

    Args:
        parent_pid: the parent that is meant; if it is gone already, this process ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # a C library without prctl
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)  # it ended before the kernel was asked


def begin_worker(parent_pid: int) -> None:
    """Prepare a process that works for another one: it ends with it, and leaves Ctrl-C to it."""
    end_with_parent(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def how_it_ended(exit_code: int | None) -> str:
    """Return what an exit code of `multiprocessing.Process` says, with the likely cause.

    Example:
        >>> how_it_ended(3)
        'ended with exit status 3'
        >>> how_it_ended(-11)
        'was killed by SIGSEGV (a crash in a library)'
    """
    if exit_code is None:
        return "ended"
    if exit_code >= 0:
        return f"ended with exit status {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if -exit_code == signal.SIGKILL:
        return f"was killed by {name} (out of memory, most likely)"
    if -exit_code in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL):
        return f"was killed by {name} (a crash in a library)"
    return f"was killed by {name}"


def name_of(item: Any) -> str:
    """Return how an error calls an item of work: its file or name where it has one, else what it prints as.

    Example:
        >>> name_of(("images/a.png", 3))
        'images/a.png'
    """
    if isinstance(item, str | os.PathLike):
        return os.fspath(item)
    for key in _NAMING_KEYS:
        found = item.get(key) if isinstance(item, dict) else getattr(item, key, None)
        if isinstance(found, str | os.PathLike):
            return os.fspath(found)
    if isinstance(item, tuple | list):
        for part in item:
            if isinstance(part, str | os.PathLike):
                return os.fspath(part)
        for part in item:
            if not isinstance(part, int | float | bool | type(None)):
                return name_of(part)
    text = str(item)
    return text if len(text) <= _MAX_NAME_LENGTH else f"{text[:_MAX_NAME_LENGTH]}..."


class _Failed(NamedTuple):
    """An exception of a worker, on its way to the parent."""

    error: BaseException


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection
    waiting_for: list[int]  # items that were handed out and not answered, in order


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    *,
    name: Callable[[Item], str] = name_of,
) -> Iterator[Result]:
    """Apply a picklable function to all items in spawned processes; yield the results in the order of the items.

    An exception in a worker is raised here. The workers end with this process.

    Args:
        function: of one item.
        items: picklable.
        workers: processes.
        name: how an error calls an item.

    Raises:
        WorkerError: a worker ended without an answer, as after the kernel killed it; the item is named.
    """
    chunk = max(1, len(items) // (workers * _CHUNKS_PER_WORKER))
    chunks = iter([range(i, min(i + chunk, len(items))) for i in range(0, len(items), chunk)])
    # Spawned, not forked: OpenCV's and torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    team: dict[Any, _Worker] = {}
    done: dict[int, Result] = {}
    next_one = 0
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(function, theirs, os.getpid()), daemon=True
            )
            process.start()
            theirs.close()  # so that its end is seen when the worker has gone
            team[ours] = _Worker(process, ours, [])
        for worker in team.values():
            _hand_out(worker, chunks, items, name)
        while next_one < len(items):
            for ready in wait([pipe for pipe, worker in team.items() if worker.waiting_for]):
                worker = team[ready]
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    raise _loss(worker, name(items[worker.waiting_for[0]])) from None
                if isinstance(answer, _Failed):
                    raise answer.error
                done[worker.waiting_for.pop(0)] = answer
                if not worker.waiting_for:
                    _hand_out(worker, chunks, items, name)
            while next_one in done:
                yield done.pop(next_one)
                next_one += 1
    finally:
        for worker in team.values():
            worker.process.terminate()
            worker.pipe.close()
        for worker in team.values():
            worker.process.join()


def _hand_out(
    worker: _Worker,
    chunks: Iterator[range],
    items: Sequence[Item],
    name: Callable[[Item], str],
) -> None:
    """Give an idle worker its next items: it waits for them, so neither side can block the other."""
    chunk = next(chunks, None)
    if chunk is None:
        return
    worker.waiting_for.extend(chunk)
    try:
        worker.pipe.send([items[number] for number in chunk])
    except (BrokenPipeError, ConnectionResetError):
        raise _loss(worker, name(items[chunk[0]])) from None


def _loss(worker: _Worker, item: str) -> WorkerError:
    worker.process.join(1)
    return WorkerError(
        f"{item}: the worker process that had it {how_it_ended(worker.process.exitcode)}. "
        "Look at this item, or run with fewer processes where memory is short"
    )


def _work(function: Callable[[Any], Any], pipe: Connection, parent_pid: int) -> None:
    begin_worker(parent_pid)
    while True:
        try:
            items = pipe.recv()
        except EOFError:
            return
        for item in items:
            try:
                answer = function(item)
            except Exception as error:
                answer = _Failed(_portable(error))
            pipe.send(answer)


def _portable(error: Exception) -> BaseException:
    """Return an exception that can be pickled and read again, with the traceback of the worker as its note."""
    text = "".join(traceback.format_exception(error))
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__} in a worker process:\n{text}")
    copy.add_note(f"In a worker process:\n{text}")
    return copy
