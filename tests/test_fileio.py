from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg_mmdet.fileio import atomic_write, sha256_of, sweep


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.suffix == ".txt"
    assert target.read_text() == "half"
    assert list(target.parent.iterdir()) == [target]


def test_after_an_error_everything_is_as_before(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("before")

    def fail_half_way() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "file.txt"):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o644


def test_hash(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


LEFT_BEHIND = """
import os, signal, sys
from cellseg_mmdet.fileio import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def start_writer(target: Path, then: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", LEFT_BEHIND, target, then],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    other = tmp_path / ".notes.abcdefgh.tmp.txt"
    other.write_text("of another program")
    start_writer(target, "die").wait()
    (left,) = set(tmp_path.iterdir()) - {other}
    living = start_writer(tmp_path / "other.txt", "wait")
    (written_to,) = set(tmp_path.iterdir()) - {other, left}

    with atomic_write(target) as temporary:
        temporary.write_text("whole")

    assert set(tmp_path.iterdir()) == {target, other, written_to}
    living.communicate()
    assert (tmp_path / "other.txt").read_text() == "half"
    assert sweep(tmp_path) == []


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def fail() -> None:
        with atomic_write(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as error:
        fail()
    assert error.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(NotADirectoryError) as below_a_file, atomic_write(tmp_path / "file" / "b"):
        pass
    assert below_a_file.value.filename == str(tmp_path / "file" / "b")


def test_a_library_that_names_the_temporary_file_is_corrected(tmp_path: Path) -> None:
    target = tmp_path / "cells.parquet"

    def fail() -> None:
        with atomic_write(target) as temporary:
            raise OSError(errno.ENOSPC, f"Failed to write {temporary}: no space")

    with pytest.raises(OSError, match="no space") as raised:
        fail()
    assert raised.value.filename == str(target)
    assert f"Failed to write {target}: no space" in str(raised.value)
    assert "cellseg-tmp" not in str(raised.value)


def test_a_long_name_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 250 + ".json")
    with atomic_write(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"
