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
    return real_data("sartorius")


@pytest.fixture(scope="session")
def dsb2018() -> Path:
    """Return the folder of the real images of nuclei; the test is skipped where there is none."""
    return real_data("dsb2018")


def real_data(name: str) -> Path:
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(
            f"no real data: {folder} is no folder; CELLSEG_REAL_DATA names the one that holds {name}/"
        )
    return folder
