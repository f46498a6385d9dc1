import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg_mmdet import compile_ahead
from cellseg_mmdet.compile_ahead import PARTS, Part, compiled_ahead

SAMPLES = Path(__file__).parents[1] / "docs/samples/nuclei"
# Prints which kernels of ours a run compiles that finds, measures and writes cells of two small pictures.
FIRST_RUN = """
import sys
from pathlib import Path
from numba.core import event
from cellseg_mmdet.cli import run

class Compiled(event.Listener):
    def on_start(self, event):
        pass
    def on_end(self, event):
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("cellseg_mmdet."):
            print("compiled", function.__module__, function.__qualname__)

with event.install_listener("numba:compile", Compiled()):
    run(["infer", "nuclei", sys.argv[1], "--out-dir", sys.argv[2], "--write", "csv", "geojson", "--diameter", "20"])
"""


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(compile_ahead, "available_cores", lambda: 2)


@pytest.mark.long
def test_all_that_a_first_run_calls_is_compiled(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    subprocess.run(
        [sys.executable, "-m", "cellseg_mmdet.compile_ahead", *PARTS], check=True, env=environment
    )
    done = subprocess.run(
        [sys.executable, "-c", FIRST_RUN, str(SAMPLES), str(tmp_path / "out")],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (tmp_path / "out" / "cells.csv").read_text().count("\n") > 10
    assert [line for line in done.stdout.splitlines() if line.startswith("compiled")] == []


def test_parts_that_are_kept_are_not_compiled(two_cores, monkeypatch):
    monkeypatch.setitem(PARTS, "decode", Part(lambda: None, lambda: True))
    with compiled_ahead(["decode"]) as processes:
        assert processes == []


def test_nothing_is_started_on_one_core(monkeypatch):
    monkeypatch.setattr(compile_ahead, "available_cores", lambda: 1)
    monkeypatch.setitem(PARTS, "decode", Part(lambda: None, lambda: False))
    with compiled_ahead(["decode"]) as processes:
        assert processes == []


def test_processes_end_with_the_block(two_cores, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # of the process: it has all to compile
    monkeypatch.setitem(PARTS, "decode", Part(lambda: None, lambda: False))
    with contextlib.suppress(KeyboardInterrupt), compiled_ahead(["decode"]) as processes:
        assert [process.poll() for process in processes] == [None]
        raise KeyboardInterrupt
    assert [process.poll() for process in processes] == [-9]
