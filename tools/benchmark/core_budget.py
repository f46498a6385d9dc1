"""The CPU time of a process and all that it started, and an end to them when it is spent. Linux."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

LOOK_EVERY_S = 0.5
PATIENCE_S = 20.0


class Ran(NamedTuple):
    """What became of a command: its exit status (None if it was stopped) and the CPU seconds that counted."""

    status: int | None
    cpu_s: float


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, of all that descend from it, and of those of them that have ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    total, todo = 0, [pid]
    while todo:
        number = todo.pop()
        try:
            # Behind the name in brackets, which may hold anything: utime, stime, cutime, cstime are fields 14 to 17.
            text = Path(f"/proc/{number}/stat").read_text()
            total += sum(int(field) for field in text.rpartition(")")[2].split()[11:15])
            for thread in Path(f"/proc/{number}/task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
        except (OSError, ValueError):  # it has just ended; its parent counts it from now on
            continue
    return total / ticks


def run_within(
    command: Sequence[str],
    budget_s: float,
    *,
    environment: Mapping[str, str],
    log: Path,
    free_s: Callable[[], float] = lambda: 0.0,
    looks: Callable[[float], None] = lambda cpu_s: None,
) -> Ran:
    """Run a command until it ends, or until it has used its CPU seconds: then it is asked to stop, and made to.

    Args:
        command: to run, in a process group of its own.
        budget_s: CPU seconds of the process and its descendants.
        environment: all variables.
        log: file for what it prints.
        free_s: CPU seconds that do not count so far, such as those of a calibration.
        looks: called twice a second and at the end with the CPU seconds that counted so far.
    """
    with log.open("a") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=dict(environment), start_new_session=True
        )
        used = 0.0
        while process.poll() is None:
            used = max(used, tree_cpu_s(process.pid))
            looks(used - free_s())
            if used - free_s() > budget_s:
                _stop(process)
                looks(used - free_s())
                return Ran(None, used - free_s())
            time.sleep(LOOK_EVERY_S)
    looks(used - free_s())
    return Ran(process.returncode, used - free_s())


def _stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, 15)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
