"""`ops.kernels`: kernels that are kept, and word of those that are not."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

from cellseg_mmdet.ops.kernels import at_first_compilation
from cellseg_mmdet.progress import note


def test_only_the_first_compilation_is_told_and_none_of_a_kept_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "kept.py"
    source.write_text("def double(value):\n    return 2 * value\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import kept  # type: ignore[import-not-found]

    told: list[str] = []
    compiled = numba.njit(cache=True)(kept.double)
    with at_first_compilation(lambda: told.append("first")):
        assert (compiled(1), compiled(0.5), compiled(2)) == (2, 1.0, 4)
    assert told == ["first"]

    again = numba.njit(cache=True)(kept.double)  # as in the next process
    with at_first_compilation(lambda: told.append("again")):
        assert (again(1), again(0.5)) == (2, 1.0)
    assert told == ["first"]

    assert compiled(1j) == 2j  # outside of a block nobody listens
    assert told == ["first"]


def test_a_note_is_a_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    note("compiling")
    assert capsys.readouterr() == ("", "compiling\n")
