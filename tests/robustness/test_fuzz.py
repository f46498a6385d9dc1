from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.errors import CellsegError
from tests.robustness.fuzzing import load_targets, run_apart

# Inputs that were findings once.
FOUND = [
    ("label_images", 424),
    ("npz_headers", 2),
    ("npz_headers", 215),
    ("csv_lines", 113),
    ("csv_lines", 139),
    ("dump_fields", 934),
    ("tiff_fields", 33),
    ("run_records", 20000691),
    ("run_records", 20005791),
    ("run_records", 30002585),
    ("safetensors_headers", 86),
    ("safetensors_headers", 597),
    ("run_records", 1249),
]


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_old_findings(name: str, seed: int, tmp_path: Path) -> None:
    with contextlib.suppress(CellsegError):
        load_targets()[name](np.random.default_rng(seed), tmp_path)


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", sorted(load_targets()))
def test_nothing_but_data_or_errors_of_ours(name: str) -> None:
    outcome = run_apart(name)
    print(
        f"{name}: {outcome['inputs']} inputs, {outcome.get('refused')} refused, {outcome['peak_mb']:.0f} MB"
    )
    assert outcome["findings"] == []
    assert outcome["inputs"]
