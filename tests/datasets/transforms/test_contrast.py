"""Contrast that does not depend on the exposure."""

from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.datasets import DarkBackground, StretchContrast
from cellseg_mmdet.errors import ConfigError


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
    with pytest.raises(ConfigError, match="percentiles must be"):
        StretchContrast((90, 10))


def test_cells_become_bright_on_dark_whichever_they_were():
    dark = np.full((6, 8, 3), 20, np.uint8)
    dark[2:4, 2:5] = 200
    for image in (dark, 255 - dark):
        np.testing.assert_array_equal(DarkBackground()({"img": image})["img"], dark)


def test_stained_cells_become_gray():
    image = np.full((6, 8, 3), 230, np.uint8)
    image[2, 3] = (200, 40, 120)  # BGR
    result = DarkBackground()({"img": image})["img"]
    assert (result == result[..., :1]).all()
    assert result[2, 3, 0] > result[0, 0, 0] == 25


@pytest.mark.parametrize(("shape", "dtype"), [((4, 5), np.uint8), ((4, 5, 3), np.uint16)])
def test_dark_background_wants_three_channels_of_8_bits(shape, dtype):
    with pytest.raises(TypeError, match="DarkBackground takes images"):
        DarkBackground()({"img": np.zeros(shape, dtype)})
