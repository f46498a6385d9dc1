"""Contrast that does not depend on the exposure."""

from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.datasets import StretchContrast


def test_percentiles_become_black_and_white():
    ramp = np.repeat(np.arange(10, 111, dtype=np.uint8)[None, :, None], 3, axis=2)
    image = StretchContrast((10, 90))({"img": ramp})["img"]
    assert image.dtype == np.uint8
    assert image[0, [0, 10, 90, 100], 0].tolist() == [0, 0, 255, 255]
    assert image[0, 50, 0] == 128  # half way


def test_exposures_become_alike():
    generator = np.random.default_rng(0)
    dark = generator.integers(0, 40, (50, 60, 3), dtype=np.uint8)
    one, other = (StretchContrast()({"img": image})["img"] for image in (dark, 5 * dark + 9))
    assert np.array_equal(one, other)


def test_an_even_image_stays():
    even = np.full((4, 5, 3), 77, np.uint8)
    assert (StretchContrast()({"img": even})["img"] == 77).all()


def test_other_types_and_ranges_are_refused():
    with pytest.raises(TypeError, match="uint16"):
        StretchContrast()({"img": np.zeros((4, 5, 3), np.uint16)})
    with pytest.raises(ValueError, match="percentiles must be"):
        StretchContrast((90, 10))
