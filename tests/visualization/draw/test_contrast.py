from __future__ import annotations

import cv2
import numpy as np
import pytest

from cellseg_mmdet.visualization.draw.contrast import VIEWS, clahe, equalise


@pytest.fixture
def gray() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(128, 6, (64, 96)).clip(0, 255).astype(np.uint8)


def test_clahe_is_that_of_the_notebook(gray: np.ndarray) -> None:
    expected = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(gray)
    assert (clahe(gray) == expected).all()
    assert expected.std() > gray.std()


def test_equalised_is_opencvs(gray: np.ndarray) -> None:
    assert (equalise(gray) == cv2.equalizeHist(gray)).all()


@pytest.mark.parametrize("view", VIEWS)
def test_gray_in_three_channels_is_treated_as_gray(view: str, gray: np.ndarray) -> None:
    three = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    assert (VIEWS[view](three) == VIEWS[view](gray)[:, :, None]).all()


def test_colours_keep_their_hue(gray: np.ndarray) -> None:
    image = np.dstack([gray // 4, gray // 2, gray])
    hue, hue_after = (
        cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[:, :, 0].astype(int)
        for picture in (image, clahe(image))
    )
    assert np.abs(hue - hue_after).mean() < 3
    assert clahe(image).std() > image.std()
