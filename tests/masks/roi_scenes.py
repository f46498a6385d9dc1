"""Scenes and arguments that hypothesis draws for `RoIMasks`, and what it means to equal mmdet's `BitmapMasks`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mmcv
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from mmdet.structures.mask import BitmapMasks

from cellseg_mmdet.masks import RoIMasks

sides = st.integers(1, 40)
interpolations = st.sampled_from(["nearest", "bilinear"])


def draw_cell(mask: np.ndarray, kind: str, rng: np.random.Generator) -> None:
    height, width = mask.shape
    if kind == "full":
        mask[:] = 1
    elif kind == "noise":
        mask[:] = rng.random(mask.shape) < 0.3
    elif kind == "frame":
        mask[[0, -1]] = 1
        mask[:, [0, -1]] = 1
    elif kind == "pixel":
        mask[rng.integers(height), rng.integers(width)] = 1
    elif kind == "disk":
        y, x = np.ogrid[:height, :width]
        distance = np.hypot(y - rng.integers(height), x - rng.integers(width))
        mask[distance <= rng.integers(1, 15)] = 1


@st.composite
def scenes(draw: st.DrawFn, *, min_instances: int = 0, max_instances: int = 6) -> np.ndarray:
    """(N, height, width) uint8: cells cut off by the borders, noise, single pixels, full and empty masks."""
    kinds = st.sampled_from(["disk", "disk", "noise", "pixel", "frame", "full", "empty"])
    of_instance = draw(st.lists(kinds, min_size=min_instances, max_size=max_instances))
    masks = np.zeros((len(of_instance), draw(sides), draw(sides)), dtype=np.uint8)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for mask, kind in zip(masks, of_instance, strict=True):
        draw_cell(mask, kind, rng)
    return masks


def dense_scene(num_cells: int, side: int, seed: int = 0) -> np.ndarray:
    """(N, side, side) uint8 with a disk each."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((num_cells, side, side), dtype=np.uint8)
    for mask in masks:
        draw_cell(mask, "disk", rng)
    return masks


def stock(masks: np.ndarray) -> BitmapMasks:
    return BitmapMasks(masks, *masks.shape[1:])


def assert_same(ours: RoIMasks, theirs: BitmapMasks) -> None:
    assert (ours.height, ours.width) == (theirs.height, theirs.width)
    found = ours.to_ndarray()
    assert found.dtype == np.uint8
    assert np.array_equal(found, theirs.to_ndarray())


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high) | st.integers(int(np.ceil(low)), int(high)).map(float)


def resize(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    return {"out_shape": (draw(sides), draw(sides))}


def rescale(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    scale = draw(st.floats(0.1, 3) | st.tuples(sides, sides))
    assume(min(mmcv.rescale_size((width, height), scale)) > 0)
    return {"scale": scale}


def flip(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    return {"flip_direction": draw(st.sampled_from(["horizontal", "vertical", "diagonal"]))}


def pad(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    below, right = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    return {"out_shape": (height + below, width + right), "pad_val": 0}


def expand(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    top, left, below, right = draw(st.tuples(*[st.integers(0, 9)] * 4))
    return {
        "expanded_h": top + height + below,
        "expanded_w": left + width + right,
        "top": top,
        "left": left,
    }


def crop(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    # mmdet wants a window that begins inside the image; it may end anywhere, even before it begins.
    x1, y1 = draw(st.integers(-9, width - 1)), draw(st.integers(-9, height - 1))
    x2, y2 = draw(st.integers(-9, width + 9)), draw(st.integers(-9, height + 9))
    return {"bbox": np.array([x1, y1, x2, y2])}


def translate(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    direction = draw(st.sampled_from(["horizontal", "vertical", "both"]))
    offset = floats(-20, 20)
    return {
        "out_shape": draw(st.just((height, width)) | st.tuples(sides, sides)),
        "offset": draw(st.tuples(offset, offset) if direction == "both" else offset),
        "direction": direction,
        "interpolation": draw(interpolations),
    }


def shear(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    return {
        "out_shape": (height, width),
        "magnitude": draw(floats(-2, 2) | floats(-100, 100)),
        "direction": draw(st.sampled_from(["horizontal", "vertical"])),
        "interpolation": draw(interpolations),
    }


def rotate(draw: st.DrawFn, height: int, width: int) -> dict[str, Any]:
    return {
        "out_shape": (height, width),
        "angle": draw(floats(-200, 200) | st.sampled_from([-90, 45, 90, 180])),
        "center": draw(st.none() | st.tuples(floats(-5, 45), floats(-5, 45))),
        "scale": draw(st.floats(0.1, 4)),
        "interpolation": draw(interpolations),
    }


# Draws the arguments of each method, for an image of the height and width given.
GEOMETRY: dict[str, Callable[[st.DrawFn, int, int], dict[str, Any]]] = {
    function.__name__: function
    for function in (resize, rescale, flip, pad, expand, crop, translate, shear, rotate)
}
