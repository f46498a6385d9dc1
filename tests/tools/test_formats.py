"""The table of formats: every way to read a file gives the same, or the same error."""

from __future__ import annotations

import pytest

from tools.benchmark import formats


def test_all_ways_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert formats.main(["--only", "rgb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("rgb16.png") and line.split()[1:] == ["same"] * 4 for line in lines)
    assert any(line.startswith("cut_rgb16.png") and line.count("error") == 3 for line in lines)
    assert lines[-1].endswith("files, 0 differ")
