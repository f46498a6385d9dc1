"""Work on many items with a progress bar and the cores there are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

from cellseg_mmdet.processes import map_in_processes, name_of

# Starting a process costs about as much as converting this many images.
_MIN_ITEMS_PER_WORKER = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return how many cores this process may use (a container or ``taskset`` may allow fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def progress_bar(
    items: Iterable[Item],
    *,
    total: int | None = None,
    initial: int = 0,
    description: str,
    unit: str = "image",
) -> Iterable[Item]:
    """Wrap ``items`` in a bar on standard error, so that standard output stays clean for results.

    Args:
        items: what is worked on.
        total: how many there are, with those that were done before.
        initial: how many were done before.
        description: what is done.
        unit: what an item is.
    """
    # Without a terminal every refresh becomes a line of a log file: keep them rare.
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        items,
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        mininterval=interval,
        file=sys.stderr,
    )


def note(text: str) -> None:
    """Print a line on standard error, above a bar that is drawn there."""
    tqdm.write(text, file=sys.stderr)


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    description: str,
    workers: int | None = None,
    unit: str = "image",
    name: Callable[[Item], str] = name_of,
) -> list[Result]:
    """Apply a picklable ``function`` to all items, in processes, and return the results in the order of the items.

    ``workers`` defaults to the available cores; the result does not depend on it. An exception in a worker is raised
    here. Few items, or one core, are worked on in this process. ``name`` says how an error calls an item.

    Raises:
        WorkerError: a worker process was killed; the item that it had is named.
    """
    workers = min(workers or available_cores(), len(items) // _MIN_ITEMS_PER_WORKER)
    if workers <= 1:
        return [function(item) for item in progress_bar(items, description=description, unit=unit)]
    results = map_in_processes(function, items, workers, name=name)
    return list(progress_bar(results, total=len(items), description=description, unit=unit))
