"""Large arrays in files without a name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.tiling.scratch import Scratch


def test_small_arrays_stay_in_memory_and_large_ones_do_not(tmp_path: Path) -> None:
    with Scratch(1000, str(tmp_path)) as scratch:
        first = scratch.array((100,), np.float64)
        assert scratch.file_bytes == 0
        second = scratch.array((100,), np.float64)
        assert scratch.file_bytes == 800
        assert not second.any()
        second[:] = np.arange(100)
        scratch.let_go(second)
        scratch.let_go(first)
        assert second.sum() == 4950
        scratch.free(second)
        assert scratch.file_bytes == 0
        scratch.free(first)
        scratch.array((100,), np.float64)
        assert scratch.file_bytes == 0  # there is room again
    assert list(tmp_path.iterdir()) == []  # also while they were there: they have no name


def test_an_array_outlives_its_scratch(tmp_path: Path) -> None:
    with Scratch(0, str(tmp_path)) as scratch:
        array = scratch.array((10, 10), np.float32)
        array += 3
    assert array.sum() == 300


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="holes are not filled here")
def test_a_full_disk_is_told_before_the_work(tmp_path: Path) -> None:
    with (
        Scratch(0, str(tmp_path)) as scratch,
        pytest.raises(UsageError, match="GB of maps do not fit"),
    ):
        scratch.array((1 << 20, 1 << 20, 1 << 10), np.float32)


def test_nothing_takes_no_file() -> None:
    with Scratch(0) as scratch:
        assert scratch.array((0, 5), np.float32).shape == (0, 5)
