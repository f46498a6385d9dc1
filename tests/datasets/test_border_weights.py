"""The weight map against the formula, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.datasets.border_weights import border_weights
from cellseg_mmdet.masks import RoIMasks


def by_the_formula(masks: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """Return the weights (H, W) for masks (N, H, W), each distance from each pixel to each border pixel computed."""
    distances = []
    for mask in masks.astype(bool):
        outside = ~np.pad(mask, 1, constant_values=True)
        shifted = [
            np.roll(outside, (dy, dx), (0, 1)) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
        ]
        border = np.argwhere(mask & np.any(shifted, axis=0)[1:-1, 1:-1])
        pixels = np.argwhere(np.ones_like(mask))
        if len(border):
            gaps = pixels[:, None] - border[None]
            distances.append(np.sqrt((gaps**2).sum(axis=2)).min(axis=1).reshape(mask.shape))
    if len(distances) < 2:
        return np.zeros(masks.shape[1:])
    d1, d2 = np.sort(distances, axis=0)[:2]
    return w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))


def ellipses(num: int, height: int, width: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    masks = np.zeros((num, height, width), np.uint8)
    for mask in masks:
        centre = generator.integers(0, [width, height]).tolist()
        axes = generator.integers(0, 9, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(generator.uniform(0, 180)), 0, 360, 1, -1)
    return masks


@settings(max_examples=40)
@given(
    num=st.integers(0, 8),
    height=st.integers(1, 50),
    width=st.integers(1, 60),
    sigma=st.sampled_from([1.0, 2.5, 5.0]),
    w0=st.sampled_from([1.0, 10.0]),
    seed=st.integers(0, 100),
)
def test_equals_the_formula_but_for_what_is_far(num, height, width, sigma, w0, seed):
    masks = ellipses(num, height, width, seed)
    weights = border_weights(RoIMasks.from_ndarray(masks), w0, sigma)
    assert weights.shape == (height, width)
    assert weights.dtype == np.float32
    missing = by_the_formula(masks, w0, sigma) - weights
    assert missing.min(initial=0) > -1e-5 * w0  # float32
    assert missing.max(initial=0) < w0 * np.exp(-8) + 1e-5 * w0


def test_a_gap_of_three_pixels():
    label_map = np.zeros((9, 30), np.int32)
    label_map[:, :10], label_map[:, 13:] = 1, 2
    masks = RoIMasks.from_ndarray(np.stack([label_map == 1, label_map == 2]))
    row = border_weights(masks, w0=10, sigma_px=5)[4]
    # d1 + d2 is 4 in the gap (columns 10 to 12) and on its sides, and two more for each column away from it.
    expected = [10 * np.exp(-(d**2) / 50) for d in (8, 6, 4, 4, 4, 4, 4, 6, 8)]
    np.testing.assert_allclose(row[7:16], expected, rtol=1e-5)


def test_touching_cells_have_the_most_along_their_seam():
    label_map = np.repeat([[1] * 10 + [2] * 10], 12, axis=0)
    weights = border_weights(RoIMasks.from_ndarray(np.stack([label_map == 1, label_map == 2])))
    assert weights.argmax(axis=1).tolist() == [9] * 12
    assert weights[5, 9] == weights[5, 10] == pytest.approx(10 * np.exp(-1 / 50))


@pytest.mark.parametrize("num", [0, 1])
def test_without_a_second_cell_there_is_none(num):
    assert not border_weights(RoIMasks.from_ndarray(ellipses(num, 40, 40, 3))).any()


def test_empty_masks_are_no_cells():
    masks = np.zeros((3, 20, 20), np.uint8)
    masks[1, 5:9, 5:9] = 1
    assert not border_weights(RoIMasks.from_ndarray(masks)).any()
