"""Work shared out among threads of our own.

Numba's default threading layer ends the process when two Python threads enter it at once, which
web servers and thread pools do. So no kernel here is parallel inside: a kernel works on a range of
items without the interpreter's lock, and the ranges are given to a pool of plain threads. Each range
writes its own part of the output, so that the result is the same for every number of threads.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def share_out(work: Callable[[int, int], None], count: int, threads: int, grain: int = 1) -> None:
    """Call ``work(start, stop)`` on ranges that make up ``range(count)``, and wait for all of them.

    Args:
        work: what to do with the items from ``start`` to ``stop``; it should release the interpreter's lock.
        count: number of items.
        threads: how many threads may work, the calling one included; ``torch.get_num_threads()`` as a rule.
        grain: a range is no shorter than this, so that little work stays on the calling thread.

    Raises:
        Exception: the first one that a range raised, after all of them have ended.

    Example:
        >>> import numpy as np
        >>> squares = np.zeros(5, dtype=int)
        >>> def work(start, stop):
        ...     squares[start:stop] = np.arange(start, stop) ** 2
        >>> share_out(work, 5, threads=2)
        >>> squares.tolist()
        [0, 1, 4, 9, 16]
    """
    parts = max(1, min(threads, count // max(grain, 1)))
    bounds = [count * part // parts for part in range(parts + 1)]
    ranges = list(itertools.pairwise(bounds))
    if parts == 1:
        work(0, count)
        return
    pool = _pool_of(parts - 1)
    futures = [pool.submit(work, *part) for part in ranges[1:]]
    errors = [_error_of(lambda: work(*ranges[0])), *(future.exception() for future in futures)]
    for error in errors:
        if error is not None:
            raise error


def _error_of(call: Callable[[], None]) -> BaseException | None:
    try:
        call()
    except BaseException as error:  # Ctrl-C too: the other ranges write into arrays of the caller
        return error
    return None


def _pool_of(size: int) -> ThreadPoolExecutor:
    """Return the process's pool, of at least ``size`` threads."""
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            # An earlier, smaller pool ends when the calls that hold it have ended.
            _pool = ThreadPoolExecutor(size, thread_name_prefix="cellseg-ops")
            _pool_size = size
        return _pool


def _forget_pool() -> None:
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):  # threads do not live on in a forked worker
    os.register_at_fork(after_in_child=_forget_pool)
