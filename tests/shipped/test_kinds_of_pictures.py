"""What the model `nuclei` makes of a sample in other forms, and of pictures without cells."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference import Cells, Model, load_model
from cellseg_mmdet.masks import pairwise_intersection
from cellseg_mmdet.shipped import list_models

SAMPLES = Path(__file__).parents[2] / "docs/samples/nuclei"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("nuclei" not in [one.name for one in list_models()], reason="no model"),
]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("nuclei", device="cpu")


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return read_image(SAMPLES / "fluorescence_48px.png").pixels[..., 0]


@pytest.fixture(scope="module")
def expected(model: Model, sample: np.ndarray) -> Cells:
    cells = model(sample)
    assert 10 <= len(cells) <= 25
    return cells


def agreement(cells: Cells, expected: Cells) -> float:
    """Return F1 at an IoU of 0.5 of cells against others, in the picture of the others."""
    masks, others = cells.masks, expected.masks
    if cells.size_hw != expected.size_hw:
        shape = expected.size_hw[::-1]
        label_map = cv2.resize(cells.label_map(), shape, interpolation=cv2.INTER_NEAREST)
        masks = type(masks).from_label_map(label_map)
    shared = pairwise_intersection(masks, others).astype(float)
    union = masks.areas[:, None] + others.areas[None] - shared
    hits = int((shared / np.maximum(union, 1) > 0.5).sum())
    return 2 * hits / max(len(masks) + len(others), 1)


def resized(picture: np.ndarray, factor: float) -> np.ndarray:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how)


KINDS = {
    "16 bits": (lambda picture: picture.astype(np.uint16) * 200 + 300, 0.97),
    "float": (lambda picture: picture.astype(np.float32) / 255, 0.97),
    "colour": (lambda picture: np.dstack([picture] * 3), 0.97),
    "inverted": (lambda picture: 255 - picture, 0.85),
    "enlarged 3 x": (lambda picture: resized(picture, 3), 0.85),
    "shrunk to a third": (lambda picture: resized(picture, 1 / 3), 0.8),
    "noisy": (
        lambda picture: np.clip(
            picture + np.random.default_rng(0).normal(0, 6, picture.shape), 0, 255
        ).astype(np.uint8),
        0.8,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_nuclei_are_found(
    kind: str, model: Model, sample: np.ndarray, expected: Cells
) -> None:
    change, least = KINDS[kind]
    assert agreement(model(change(sample)), expected) >= least


def test_many_small_nuclei(model: Model, sample: np.ndarray, expected: Cells) -> None:
    tiles = np.tile(resized(sample, 1 / 3), (6, 6))
    cells = model(tiles)
    assert 0.8 < len(cells) / (36 * len(expected)) < 1.4  # those at a seam are cut


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((200, 300), np.uint8),
        np.full((64, 64), 130, np.uint8),
        np.random.default_rng(0).normal(100, 10, (200, 200)).astype(np.uint8),
        np.linspace(0, 255, 200 * 200).reshape(200, 200).astype(np.uint8),
        np.zeros((1, 1), np.uint8),
    ],
    ids=["black", "gray", "noise", "gradient", "one pixel"],
)
def test_where_there_is_no_cell_few_are_found(model: Model, picture: np.ndarray) -> None:
    assert len(model(picture)) <= 3


def test_one_nucleus(model: Model, sample: np.ndarray, expected: Cells) -> None:
    middle = np.abs(expected.boxes[:, :2] - np.array(sample.shape[::-1]) / 2).sum(1).argmin()
    alone = np.zeros_like(sample)
    label_map = expected.label_map()
    alone[label_map == middle + 1] = sample[label_map == middle + 1]
    cells = model(alone)
    assert len(cells) == 1
    assert agreement(cells, expected[[middle]]) == 1.0
