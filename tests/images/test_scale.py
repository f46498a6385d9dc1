"""Pictures resized for a model, and masks back."""

from __future__ import annotations

import argparse
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.images import Image, ImageKey, read_image
from cellseg_mmdet.images.scale import (
    ScaleChoice,
    add_scale_arguments,
    resized_image,
    resized_masks,
    resized_prediction,
    scale_from,
)
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

MODEL = {"pixel_size_um": 0.5, "diameter_px": 20.0}


def disk_map(size_hw: tuple[int, int], *disks: tuple[float, float, float]) -> np.ndarray:
    """Label map of disks (y, x, radius)."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    labels = np.zeros(size_hw, np.int32)
    for number, (at_y, at_x, radius) in enumerate(disks, start=1):
        labels[(y - at_y) ** 2 + (x - at_x) ** 2 < radius**2] = number
    return labels


@pytest.mark.parametrize(
    ("choice", "file_um", "factors"),
    [
        (ScaleChoice(), (9.0, 9.0), (1.0, 1.0)),
        (ScaleChoice(scale=1.5), None, (1.5, 1.5)),
        (ScaleChoice(diameter_px=40), None, (0.5, 0.5)),
        (ScaleChoice(pixel_size_um=0.25), None, (0.5, 0.5)),
        (ScaleChoice(pixel_size_um="file"), (1.0, 0.25), (2.0, 0.5)),
    ],
)
def test_factors(
    choice: ScaleChoice, file_um: tuple[float, float] | None, factors: tuple[float, float]
) -> None:
    assert choice.factors_yx(MODEL, file_um) == factors


@pytest.mark.parametrize(
    ("choice", "model", "error", "message"),
    [
        (ScaleChoice(diameter_px=9), None, UsageError, r"--diameter needs .*dict\(diameter_px="),
        (ScaleChoice(pixel_size_um=1), {"diameter_px": 2}, UsageError, "--pixel-size needs"),
        (ScaleChoice(pixel_size_um="file"), MODEL, UsageError, "does not say"),
        (ScaleChoice(scale=2, diameter_px=3), MODEL, UsageError, "give one of"),
        (ScaleChoice(pixel_size_um=500), MODEL, UsageError, "resized by 1000.*right unit"),
        (ScaleChoice(diameter_px=3), {"diameter": 3}, ConfigError, "'diameter'; allowed are"),
        (ScaleChoice(diameter_px=3), {"diameter_px": -3}, ConfigError, "positive number; got -3"),
    ],
)
def test_what_does_not_go_together(
    choice: ScaleChoice, model: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        choice.factors_yx(model)


def test_arguments_of_commands() -> None:
    parser = argparse.ArgumentParser()
    add_scale_arguments(parser)
    assert scale_from(parser.parse_args([])) == ScaleChoice()
    assert scale_from(parser.parse_args(["--scale", "2"])) == ScaleChoice(scale=2.0)
    assert scale_from(parser.parse_args(["--pixel-size", "file"])).pixel_size_um == "file"
    assert scale_from(parser.parse_args(["--diameter", "17.5"])).diameter_px == 17.5
    both = scale_from(parser.parse_args(["--pixel-size", "0.5", "--diameter", "9"]))
    assert both == ScaleChoice(diameter_px=9.0)  # the pixel size is for what is written
    for wrong in (["--scale", "0"], ["--scale", "2", "--diameter", "3"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.61, 1.7, 3.0])
def test_disks_come_back_as_they_were(factor: float) -> None:
    size_hw = (120, 90)
    labels = disk_map(size_hw, (30.0, 25.0, 14.0), (70.5, 60.5, 20.0), (110.0, 5.0, 16.0))
    masks = Runs.from_label_map(labels)
    small = tuple(round(side * factor) for side in size_hw)
    there = resized_masks(masks, small)
    np.testing.assert_allclose(there.areas, masks.areas * factor**2, rtol=0.06)
    back = resized_masks(there, size_hw)
    assert (back.height, back.width) == size_hw and len(back) == 3
    for index in range(3):
        one, other = (each[[index]].to_label_map() > 0 for each in (masks, back))
        overlap = (one & other).sum() / (one | other).sum()
        assert overlap > (0.9 if factor < 1 else 0.97)


@given(
    seed=st.integers(0, 10**6),
    new=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_bilinear_resize_is_opencvs(seed: int, new: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    size_hw = tuple(rng.integers(4, 30, 2))
    bitmap = np.zeros(size_hw, np.uint8)
    y, x = rng.integers(0, size_hw[0]), rng.integers(0, size_hw[1])
    bitmap[y : y + 12, x : x + 9] = rng.random() < 0.95
    masks = Runs.from_label_map(bitmap.astype(np.int32))
    if not len(masks):
        return
    found = resized_masks(masks, new).to_label_map() > 0
    share = cv2.resize(bitmap.astype(np.float32), new[::-1], interpolation=cv2.INTER_LINEAR)
    clear = np.abs(share - 0.5) > 1e-4  # float32
    np.testing.assert_array_equal(found[clear], share[clear] > 0.5)


@given(seed=st.integers(0, 10**6), new=st.tuples(st.integers(1, 50), st.integers(1, 50)))
def test_masks_that_touch_stay_apart(seed: int, new: tuple[int, int]) -> None:
    labels = np.random.default_rng(seed).integers(1, 5, (6, 5)).repeat(4, axis=0).repeat(3, axis=1)
    resized = resized_masks(Runs.from_label_map(labels), new)
    assert resized.areas.sum() <= new[0] * new[1]
    assert (resized.to_label_map() > 0).sum() == resized.areas.sum()


def test_pictures() -> None:
    picture = np.tile(np.arange(64, dtype=np.uint16) * 100, (40, 1))
    image = Image(picture[..., None], ImageKey("a"), ("gray",), (0.5, 0.25))
    half = resized_image(image, (0.5, 0.5))
    assert half.pixels.shape == (20, 32, 1) and half.pixels.dtype == np.uint16
    assert half.pixel_size_um == (1.0, 0.5)
    np.testing.assert_array_equal(half.pixels[0, :, 0], picture[0].reshape(-1, 2).mean(axis=1))
    double = resized_image(image, (2.0, 1.0))
    assert double.pixels.shape == (80, 64, 1) and double.pixel_size_um == (0.25, 0.25)
    assert resized_image(image, (1.0, 1.0)) is image
    for dtype in (np.int8, np.int32, np.float16):
        one = read_image(picture[:, :30].astype(dtype))
        assert resized_image(one, (0.5, 0.5)).pixels.dtype == np.float32
    five = Image(np.dstack([picture] * 5), ImageKey("a"), tuple("abcde"))
    assert resized_image(five, (0.5, 2.0)).pixels.shape == (20, 128, 5)


def test_predictions_come_back_with_all_instances() -> None:
    masks = Runs.from_label_map(disk_map((40, 60), (20, 20, 9), (20, 45, 0.8)))
    found = ImagePrediction(
        "a",
        None,
        40,
        60,
        masks.boxes.astype(np.float32),
        np.array([0.9, 0.5]),
        np.zeros(2, np.int64),
        masks,
    )
    back = resized_prediction(found, (20, 120))
    assert (back.height, back.width, len(back)) == (20, 120, 2)
    np.testing.assert_allclose(back.boxes, found.boxes * [2, 0.5, 2, 0.5])
    assert (back.masks.height, back.masks.width) == (20, 120)
    assert resized_prediction(found, (40, 60)) is found
    none = resized_prediction(found.select(np.zeros(0, np.int64)), (20, 120))
    assert len(none) == 0
