"""What ``from cellseg_mmdet import ...`` gives, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import cellseg_mmdet

SOURCE = Path(cellseg_mmdet.__file__)


def test_every_name_is_there_and_told() -> None:
    for name in cellseg_mmdet.__all__:
        assert getattr(cellseg_mmdet, name) is not None
        assert name in dir(cellseg_mmdet)
    assert sorted({*cellseg_mmdet.__all__} - {"__version__"}) == sorted(cellseg_mmdet._HOMES)


def test_types_are_checked_against_the_same_modules() -> None:
    checked = {
        alias.name: (node.module or "").removeprefix("cellseg_mmdet.")
        for block in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert checked == cellseg_mmdet._HOMES


def test_the_package_has_types() -> None:
    assert resources.files("cellseg_mmdet").joinpath("py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cellseg_mmdet' has no attribute 'predict'"):
        cellseg_mmdet.predict  # noqa: B018


@pytest.mark.slow
def test_torch_is_imported_with_the_first_name_that_needs_it() -> None:
    script = (
        "import sys, cellseg_mmdet\n"
        "assert not {'torch', 'numpy', 'numba'} & set(sys.modules)\n"
        "from cellseg_mmdet import CellsegError, Runs, read_annotations, score_predictions\n"
        "assert 'torch' not in sys.modules\n"
        "from cellseg_mmdet import load_model, read_image\n"
        "assert 'torch' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=SOURCE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
