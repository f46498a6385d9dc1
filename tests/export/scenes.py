"""A prediction with all that makes writing hard, and how to have it written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.export import WRITERS, Written, opened
from cellseg_mmdet.images.image import Image
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction

CLASSES = ("nucleus", "a <b> & c/d")
HEIGHT, WIDTH = 12, 20
PIXEL_SIZE_UM = (0.5, 0.25)


def masks_of(pixels: np.ndarray) -> Runs:
    """Return the masks of (N, height, width)."""
    instance, x, y = np.nonzero(pixels.transpose(0, 2, 1))
    return Runs.from_pixels(x * pixels.shape[1] + y, instance, len(pixels), *pixels.shape[1:])


def dense(masks: Runs) -> np.ndarray:
    """Return masks as (N, height, width) bool."""
    pixels = np.zeros((len(masks), masks.width * masks.height), bool)
    index, owner = masks.pixels()
    pixels[owner, index] = True
    return pixels.reshape(len(masks), masks.width, masks.height).transpose(0, 2, 1)


def prediction(name: str = "a") -> ImagePrediction:
    """A square; a ring; two pieces; nothing; one with a hole at the border that shares 4 pixels with the square."""
    pixels = np.zeros((5, HEIGHT, WIDTH), bool)
    pixels[0, 1:5, 1:5] = True
    pixels[1, 2:9, 8:14] = True
    pixels[1, 4:7, 10:12] = False
    pixels[2, 10:12, 3:5] = pixels[2, 9:12, 6:9] = True
    pixels[4, 3:6, 3:7] = pixels[4, 5:12, 0:3] = True
    pixels[4, 6:9, 1] = False
    return ImagePrediction(
        image_id=name,
        img_id=None,
        height=HEIGHT,
        width=WIDTH,
        boxes=masks_of(pixels).boxes.astype(np.float64),
        scores=np.array([0.75, 0.5, 1.0, 0.9, 0.8]),
        labels=np.array([0, 1, 0, 0, 1]),
        masks=masks_of(pixels),
        img_path=f"{name}.png",
    )


def painted() -> np.ndarray:
    """The scene as a label map, where the cell of score .8 takes what it shares with the square of .75."""
    expected = np.zeros(dense(prediction().masks).shape[1:], np.uint32)
    for index in (0, 1, 2, 4):
        expected[dense(prediction().masks)[index]] = index + 1
    return expected


def picture_of(
    found: ImagePrediction,
    pixel_size_um: tuple[float, float] | None = PIXEL_SIZE_UM,
    plane: str | None = None,
) -> Picture:
    """Return a dark picture of the size of a prediction."""
    key = ImageKey(found.img_path, plane=plane, name=found.image_id)
    pixels = np.full((found.height, found.width, 1), 40, np.uint8)
    return Picture(key, image=Image(pixels, key, ("gray",), pixel_size_um))


def write(
    name: str, out_dir: Path, *found: ImagePrediction, plane: str | None = None, **options: Any
) -> Written:
    """Have predictions written by the writer of that name."""
    with opened([WRITERS.get(name)(**options)], out_dir, CLASSES) as (writer,):
        for one in found:
            writer.add(one, picture_of(one, plane=plane))
        return writer.close()
