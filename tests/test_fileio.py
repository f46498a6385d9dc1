from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from cellseg_mmdet.fileio import atomic_write, sha256_of


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
