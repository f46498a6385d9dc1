from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test is of how long something takes: on a busy machine an example may take any time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# The tests are of the CPU, also where there is a GPU; what they start inherits this. Before torch is imported.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

REAL_DATA = os.environ.get("CELLSEG_REAL_DATA")  # folder that holds sartorius/ and dsb2018/


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``fuzz``, unless -m asks for it."""
    if "fuzz" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("fuzz")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("fuzz")]


@pytest.fixture(scope="session")
def sartorius() -> Path:
    """Return the folder of the real Sartorius images; the test is skipped where there is none."""
    return real_data("sartorius")


@pytest.fixture(scope="session")
def dsb2018() -> Path:
    """Return the folder of the real images of nuclei; the test is skipped where there is none."""
    return real_data("dsb2018")


def real_data(name: str) -> Path:
    if not REAL_DATA:
        pytest.skip(f"no real data: CELLSEG_REAL_DATA names the folder that holds {name}/")
    folder = Path(REAL_DATA) / name
    if not folder.is_dir():
        pytest.skip(f"no real data: CELLSEG_REAL_DATA is {REAL_DATA}, and {folder} is no folder")
    return folder
