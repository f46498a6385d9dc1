"""What the models that ship make of a sample in other forms, of pictures without cells, and of photographs.

What counts as not silly:

- other forms of a sample: the same cells, by an F1 at an IoU of 0.5 of what is found with what is found in the sample
  itself, at least the number that stands beside the form;
- many cells: their number, within a fifth below and two fifths above, as those at a seam are cut in two;
- nothing, noise, a gradient: three cells at most; one cell: that one;
- a photograph: a dozen cells at most. Neither model knows what a photograph is, and round things are taken for cells.
  Those of gravel, grass or print are no part of this: their grains are found by the hundred, as the cards say.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference import Cells, Model, load_model
from cellseg_mmdet.masks import pairwise_intersection
from cellseg_mmdet.shipped import list_models

SAMPLES = Path(__file__).parents[2] / "docs/samples"
MODELS = ("nuclei", "phase")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not {one.name for one in list_models()}.issuperset(MODELS), reason="no models"
    ),
]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: load_model(name, device="cpu") for name in MODELS}


@pytest.fixture(scope="module")
def model(models: dict[str, Model]) -> Model:
    return models["nuclei"]


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return read_image(SAMPLES / "nuclei/fluorescence_48px.png").pixels[..., 0]


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


@pytest.mark.parametrize("number", [500, pytest.param(3000, marks=pytest.mark.long)])
def test_many_small_nuclei(number: int, model: Model, sample: np.ndarray, expected: Cells) -> None:
    side = math.ceil(math.sqrt(number / len(expected)))
    tiles = np.tile(resized(sample, 1 / 3), (side, side))
    cells = model(tiles)
    assert 0.8 < len(cells) / (side**2 * len(expected)) < 1.4
    assert len(np.unique(cells.label_map())) == len(cells) + 1  # none hides another


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
@pytest.mark.parametrize("name", MODELS)
def test_where_there_is_no_cell_few_are_found(
    name: str, models: dict[str, Model], picture: np.ndarray
) -> None:
    assert len(models[name](picture)) <= 3


@pytest.mark.parametrize("picture", ["astronaut", "coffee", "chelsea", "camera"])
@pytest.mark.parametrize("name", MODELS)
def test_in_a_photograph_few_are_found(name: str, models: dict[str, Model], picture: str) -> None:
    # Free pictures (public domain and CC0) inside the wheel of scikit-image, which mmdet brings along.
    data = pytest.importorskip("skimage.data")
    assert len(models[name](getattr(data, picture)())) <= 12


def test_one_nucleus(model: Model, sample: np.ndarray, expected: Cells) -> None:
    middle = np.abs(expected.boxes[:, :2] - np.array(sample.shape[::-1]) / 2).sum(1).argmin()
    alone = np.zeros_like(sample)
    label_map = expected.label_map()
    alone[label_map == middle + 1] = sample[label_map == middle + 1]
    cells = model(alone)
    assert len(cells) == 1
    assert agreement(cells, expected[[middle]]) == 1.0


def test_one_cell_in_phase_contrast(models: dict[str, Model]) -> None:
    picture = read_image(SAMPLES / "phase/set12_crop.tif").pixels[..., 0]
    cells = models["phase"](picture)
    margin = 20
    inside = (cells.boxes[:, :2] > margin).all(1) & (cells.boxes[:, 2:] < 512 - margin).all(1)
    index = int(np.flatnonzero(inside)[cells.masks.areas[inside].argmax()])
    # The cell with its halo, and the noise of the background elsewhere.
    label_map = cells.label_map()
    near = cv2.dilate((label_map == index + 1).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    spread = picture[label_map == 0].std() / 2
    noise = np.random.default_rng(0).normal(np.median(picture), spread, picture.shape)
    alone = np.where(near, picture, noise.clip(0, 65535).astype(picture.dtype))
    found = models["phase"](alone)
    assert len(found) == 1
    assert agreement(found, cells[[index]]) == 1.0
