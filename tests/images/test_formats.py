"""Every format that is read, with known pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.images import image_size_hw, open_image, read_image
from tests.images.written import Written, plain_files, tiff_files

FILES = [*plain_files(), *tiff_files()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_pixels_are_those_written(file: Written, tmp_path: Path) -> None:
    path = tmp_path / file.name
    expected = file.write(path)
    image = read_image(path)
    assert image.pixels.shape == expected.shape
    assert image.pixels.dtype == expected.dtype.newbyteorder("=")
    assert image.channels == (("gray",) if expected.shape[2] == 1 else ("red", "green", "blue"))
    difference = np.abs(image.pixels.astype(np.float64) - expected.astype(np.float64)).max()
    assert difference <= file.tolerance
    assert image_size_hw(path) == expected.shape[:2]
    with open_image(path.read_bytes(), name=file.name) as source:
        assert source.size_hw == expected.shape[:2]
        assert source.dtype == expected.dtype.newbyteorder("=")
        part = source.read_window(15, 7, 20, 31)
        np.testing.assert_array_equal(part, image.pixels[15:35, 7:38])
