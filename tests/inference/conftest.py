from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.inference.bright_patches import squares


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "images"
    source.mkdir()
    for name, pixels in {
        "a.png": squares(30, 50, 4, 9),
        "b.tif": squares(30, 50),
        "c.png": squares(40, 50, 10).astype(np.uint16) * 200,
        "d.png": squares(30, 50, 5),
    }.items():
        assert cv2.imwrite(str(source / name), pixels)
    return source


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
