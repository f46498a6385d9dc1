from __future__ import annotations

import os
from pathlib import Path

import pytest

# The tests are of the CPU, also where there is a GPU; what they start inherits this. Before torch is imported.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

REAL_DATA = Path(
    os.environ.get("CELLSEG_REAL_DATA", Path(__file__).parents[1].parent / "shared" / "data")
)


@pytest.fixture(scope="session")
def sartorius() -> Path:
    """Return the folder of the real Sartorius images; the test is skipped where there is none."""
    folder = REAL_DATA / "sartorius"
    if not folder.is_dir():
        pytest.skip(
            f"no real data: {folder} is no folder; CELLSEG_REAL_DATA names the one that holds sartorius/"
        )
    return folder
