"""What counts of a command's CPU time, and what is stopped when it is spent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tools.benchmark.clock import Clock, Spent
from tools.benchmark.core_budget import run_within, tree_cpu_s

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"
# The work is done by a process of the process.
NESTED = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', '''{busy}'''])\n"

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


def run(code: str, budget_s: float, log: Path, free_s: float = 0.0):
    command = [sys.executable, "-c", code]
    return run_within(
        command, budget_s, environment=dict(os.environ), log=log, free_s=lambda: free_s
    )


def test_a_command_within_its_budget_ends_by_itself(tmp_path: Path) -> None:
    ran = run("import sys; print('told'); sys.exit(3)", 60, tmp_path / "log.txt")
    assert ran.status == 3
    assert (tmp_path / "log.txt").read_text() == "told\n"


@pytest.mark.slow
@pytest.mark.parametrize("code", [BUSY, NESTED.replace("{busy}", BUSY)], ids=["itself", "a child"])
def test_it_is_stopped_when_it_and_its_children_have_used_it(tmp_path: Path, code: str) -> None:
    ran = run(code.format(seconds=60), 0.5, tmp_path / "log.txt")
    assert ran.status is None
    assert 0.5 < ran.cpu_s < 5


@pytest.mark.slow
def test_what_is_free_does_not_count(tmp_path: Path) -> None:
    ran = run(BUSY.format(seconds=1.5), 1, tmp_path / "log.txt", free_s=10)
    assert ran.status == 0
    assert ran.cpu_s < 0


def test_the_time_of_this_process_is_that_of_its_clock() -> None:
    times = os.times()
    known = times.user + times.system + times.children_user + times.children_system
    assert tree_cpu_s(os.getpid()) == pytest.approx(known, abs=0.5)
    assert tree_cpu_s(2**22 + 1) == 0  # there is no such process


def test_a_clock_leaves_out_what_the_measurement_does() -> None:
    clock = Clock()
    with clock.counts("total"), clock.counts("network"), clock.counts("left_out"):
        sum(range(200_000))
    assert clock.left_out.cpu > 0
    assert 0 <= clock.network.cpu <= clock.total.cpu < clock.left_out.cpu
    assert Spent(3, 2) - Spent(1, 1) == Spent(2, 1)
