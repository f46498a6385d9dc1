from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg_mmdet.errors import (
    CellsegError,
    CheckpointError,
    ConfigError,
    DataError,
    ImageError,
    MaskError,
    UsageError,
    needs,
)
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.terminal import run_tool


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize("code", [None, 0, 3])
def test_the_exit_status_is_what_the_tool_returns(code: int | None) -> None:
    with pytest.raises(SystemExit) as end:
        run_tool(lambda: code)
    assert end.value.code == code


@pytest.mark.parametrize(
    "kind",
    [CellsegError, UsageError, ConfigError, DataError, MaskError, ImageError, CheckpointError],
)
def test_errors_of_ours_are_a_line(kind: type[CellsegError]) -> None:
    with pytest.raises(SystemExit) as end:
        run_tool(raising(kind("a.csv, row 3: the id is empty")))
    assert end.value.code == "error: a.csv, row 3: the id is empty"


def test_errors_of_the_system_name_their_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        run_tool(lambda: (tmp_path / "none.csv").read_text() and None)
    assert end.value.code == f"error: {tmp_path / 'none.csv'}: No such file or directory"


def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path) -> None:
    def main() -> None:
        with atomic_write(tmp_path / "out.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemExit) as end:
        run_tool(main)
    assert end.value.code == f"error: {tmp_path / 'out.csv'}: No space left on device"
    assert not list(tmp_path.iterdir())


def test_another_file_keeps_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"other\.csv"),
        atomic_write(tmp_path / "out.csv"),
    ):
        (tmp_path / "other.csv").read_text()


@pytest.mark.parametrize(
    "error", [ValueError("of a library"), KeyError("x"), RuntimeError("y"), OSError(errno.EIO, "?")]
)
def test_anything_else_is_a_fault_and_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        run_tool(raising(error))
    assert raised.value is error


def test_a_library_that_is_missing_is_a_line_that_says_what_brings_it() -> None:
    def main() -> None:
        with needs("plot"):
            importlib.import_module("no_such_library")

    with pytest.raises(SystemExit) as end:
        run_tool(main)
    assert end.value.code == (
        'error: no_such_library is not installed: pip install "cellseg_mmdet[plot]" brings it'
    )


def test_interrupted() -> None:
    with pytest.raises(SystemExit) as end:
        run_tool(raising(KeyboardInterrupt()))
    assert end.value.code == 130


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("text", ["x", "x" * 100_000], ids=["at the end", "on the way"])
def test_output_to_a_full_disk(text: str) -> None:
    code = f"from cellseg_mmdet.terminal import run_tool; run_tool(lambda: print({text!r}))"
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (result.returncode, result.stderr) == (
        1,
        "error: standard output: No space left on device\n",
    )
