"""What tests of runs of inference share."""

from __future__ import annotations

from pathlib import Path

import pytest

EXECUTOR_NAMES = ["local", pytest.param("processes", marks=pytest.mark.slow)]
ALL = ("submission", "coco", "overlay", "dump")


def results_of(out: Path) -> dict[str, bytes]:
    """Return the content of all that a run wrote, without its record."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".cellseg-run" not in path.parts
    }
