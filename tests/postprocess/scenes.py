"""Predictions to post-process: of geometry known on paper, and drawn at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

CLASSES = ("astro", "cort", "shsy5y")
HEIGHT, WIDTH = 8, 11


def predict(
    dense: np.ndarray,
    scores: list[float] | np.ndarray | None = None,
    labels: list[int] | np.ndarray | None = None,
) -> ImagePrediction:
    """Predict the bitmaps (N, H, W) with their tight boxes; by default with falling scores and label 0."""
    count, height, width = dense.shape
    instance, y, x = np.nonzero(dense)
    masks = Runs.from_pixels(x * height + y, instance, count, height, width)
    return ImagePrediction(
        image_id="a",
        img_id=1,
        height=height,
        width=width,
        boxes=masks.boxes.astype(np.float32),
        scores=np.array(np.linspace(0.9, 0.1, count) if scores is None else scores, np.float32),
        labels=np.array(np.zeros(count) if labels is None else labels, np.int64),
        masks=masks,
    )


def bitmaps_of(masks: Runs) -> np.ndarray:
    """Return masks as bitmaps (N, H, W)."""
    dense = np.zeros((len(masks), masks.width * masks.height), dtype=bool)
    pixels, owner = masks.pixels()
    dense[owner, pixels] = True
    return dense.reshape(len(masks), masks.width, masks.height).transpose(0, 2, 1)


def columns(*spans: tuple[int, int]) -> np.ndarray:
    """Return bitmaps that each fill the columns from the first up to the second, exclusive."""
    dense = np.zeros((len(spans), HEIGHT, WIDTH), dtype=bool)
    for bitmap, (begin, end) in zip(dense, spans, strict=True):
        bitmap[:, begin:end] = True
    return dense


def drawn(*rows: str) -> np.ndarray:
    """Return one bitmap (1, H, W): ``#`` is foreground."""
    return np.array([[character == "#" for character in row] for row in rows])[None]


@st.composite
def predictions(draw: st.DrawFn, max_count: int = 7) -> ImagePrediction:
    """Draw up to 7 instances: rectangles or speckles, whole images, empty ones; many of equal score."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, max_count))
    density = draw(st.sampled_from([0.3, 0.6, 0.9, 1.0]))
    dense = rng.random((count, HEIGHT, WIDTH)) < density
    for bitmap in dense:
        if rng.random() < 0.7:
            x1, x2 = np.sort(rng.integers(0, WIDTH + 1, 2))
            y1, y2 = np.sort(rng.integers(0, HEIGHT + 1, 2))
            bitmap[:y1], bitmap[y2:] = False, False
            bitmap[:, :x1], bitmap[:, x2:] = False, False
    return predict(dense, rng.integers(1, 4, count) / 4, rng.integers(0, len(CLASSES), count))


def numbered(prediction: ImagePrediction) -> ImagePrediction:
    """Return the prediction with the number of each instance as its box."""
    numbers = np.arange(len(prediction), dtype=np.float32)
    return replace(prediction, boxes=np.repeat(numbers[:, None], 4, axis=1))


def kept(prediction: ImagePrediction) -> list[int]:
    """Return the numbers of the instances that are left of a `numbered` prediction."""
    return prediction.boxes[:, 0].astype(int).tolist()
