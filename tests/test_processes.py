"""Workers that are killed end the run with the name of what they had; none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.errors import MaskError, WorkerError
from cellseg_mmdet.processes import map_in_processes, name_of
from cellseg_mmdet.progress import parallel_map


@dataclass(frozen=True)
class Task:
    file_name: str
    fate: str = ""


def work(task: Task) -> str:
    if task.fate == "exit":
        os._exit(3)
    if task.fate == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.fate == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task.fate == "mask":
        raise MaskError("odd", 4)
    if task.fate == "unpicklable":
        raise Odd(lambda: 0)
    return task.file_name.upper()


class Odd(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fate", "told"),
    [
        ("exit", "ended with exit status 3"),
        ("kill", r"was killed by SIGKILL \(out of memory, most likely\)"),
        ("crash", r"was killed by SIGSEGV \(a crash in a library\)"),
    ],
)
@pytest.mark.parametrize("at", [0, 17, 39])
def test_the_item_of_a_killed_worker_is_named(fate: str, told: str, at: int) -> None:
    tasks = [Task(f"{number}.png", fate if number == at else "") for number in range(40)]
    with pytest.raises(WorkerError, match=rf"^{at}\.png: .*{told}"):
        parallel_map(work, tasks, description="work", workers=2)


@pytest.mark.slow
def test_errors_come_back_whole() -> None:
    with pytest.raises(MaskError, match="instance 4: odd") as error:
        list(map_in_processes(work, [Task("a"), Task("b", "mask")], 2))
    assert error.value.instance == 4
    with pytest.raises(RuntimeError, match="Odd in a worker process"):
        list(map_in_processes(work, [Task("a", "unpicklable")], 1))


@pytest.mark.slow
def test_large_items_and_results_do_not_block_each_other() -> None:
    items = [np.full(1 << 18, number) for number in range(20)]
    found = list(map_in_processes(double, items, 2))
    assert [int(one[0]) for one in found] == list(range(0, 40, 2))


def double(values: np.ndarray) -> np.ndarray:
    return values * 2


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (Path("a/b.png"), "a/b.png"),
        (Task("c.png"), "c.png"),
        ((3, Task("d.png")), "d.png"),
        ({"img_path": "e.png"}, "e.png"),
        ("x" * 300, "x" * 300),
        (list(range(300)), None),
    ],
)
def test_names(item: object, name: str | None) -> None:
    found = name_of(item)
    assert found == name if name else len(found) < 250


PARENT = """
import sys, time
from cellseg_mmdet.processes import map_in_processes
from tests.test_processes import wait_for_ever
if __name__ == "__main__":
    list(map_in_processes(wait_for_ever, [sys.argv[1]] * 16, 2))
"""


def wait_for_ever(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    while True:
        time.sleep(60)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_a_killed_parent_leaves_no_workers(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    pids = tmp_path / "pids"
    pids.mkdir()
    root = Path(__file__).parents[1]
    parent = subprocess.Popen(
        [sys.executable, script, pids], env=os.environ | {"PYTHONPATH": str(root)}
    )
    wait_until(lambda: len(list(pids.iterdir())) == 2, 60)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_alive(int(path.name)) for path in pids.iterdir()), 5)


def wait_until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
