"""Run a piece of work in a process of its own, and say how long it took and how much memory it added."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Up to five runs, fewer where they take long.
MAX_RUNS, ENOUGH_SECONDS = 5, 20.0

# Makes the work from its arguments, ready to be run several times.
Case = Callable[..., Callable[[], Any]]


@dataclass(frozen=True)
class Measured:
    """Median wall time, the most memory above that of a warmed-up process, inputs included, and median CPU time."""

    seconds: float
    peak_mb: float
    num_runs: int
    cpu_seconds: float


def measure(case: Case, *args: Any, warm_up: tuple[Any, ...]) -> Measured:
    """Measure ``case(*args)()`` after ``case(*warm_up)()``, the same on little data, has loaded what is loaded once."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure_here, case, args, warm_up).result()


def _measure_here(case: Case, args: tuple[Any, ...], warm_up: tuple[Any, ...]) -> Measured:
    case(*warm_up)()
    gc.collect()
    before = _memory_mb("VmRSS")
    # Linux: 5 resets the peak. Elsewhere /proc is missing, and reading the memory has failed already.
    Path("/proc/self/clear_refs").write_text("5")
    work = case(*args)
    seconds, cpu_seconds = ([value] for value in _time(work))
    peak = _memory_mb("VmHWM") - before
    while len(seconds) < MAX_RUNS and sum(seconds) < ENOUGH_SECONDS:
        elapsed, worked = _time(work)
        seconds.append(elapsed)
        cpu_seconds.append(worked)
    return Measured(statistics.median(seconds), peak, len(seconds), statistics.median(cpu_seconds))


def _time(work: Callable[[], Any]) -> tuple[float, float]:
    """Return seconds on the clock, and those that the process worked."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    result = work()
    elapsed, worked = time.perf_counter() - begin, time.process_time() - begin_cpu
    del result
    return elapsed, worked


def _memory_mb(key: str) -> float:
    with open(f"/proc/{os.getpid()}/status") as file:
        for line in file:
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{os.getpid()}/status has no {key}")
