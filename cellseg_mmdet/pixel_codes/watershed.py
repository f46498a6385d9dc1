"""Seeds that flood a mask from the high places of a landscape to the low ones (the watershed of Meyer, 1991)."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.pixel_codes.regions import connected_parts, renumbered

# Heights of the landscape that the flood stops at, on its way from the seeds' down to 0.
NUM_LEVELS = 8


def seeded_watershed(
    mask: np.ndarray, landscape: np.ndarray, seed_thr: float, min_px: int = 1
) -> tuple[np.ndarray, int]:
    """Split a mask into cells.

    Connected parts of the mask where the landscape is above ``seed_thr`` are seeds. They grow pixel by pixel into what
    is above the next lower level, until nothing is left that they reach, and then go on to the next level: two cells
    meet where the landscape between them is lowest. A pixel that several reach at once goes to the last. Connected
    parts of the mask that no seed reaches are cells too. Pixels that share an edge are connected.

    Args:
        mask: (H, W) bool.
        landscape: (H, W) float32, at least 0.
        seed_thr: see above.
        min_px: smaller seeds, and smaller parts that no seed reaches, are dropped.

    Returns:
        Label map (H, W) int32, 0 for background and cells by their first pixel in reading order; and their number.
    """
    landscape = np.ascontiguousarray(landscape, dtype=np.float32)
    labels, _ = _large_parts(mask & (landscape > seed_thr), min_px)
    levels = np.linspace(seed_thr, 0, NUM_LEVELS + 1)[1:]
    _flood(labels, landscape, mask, levels)
    rest, _ = _large_parts(mask & (labels == 0), min_px)
    # What grew from one seed is connected, and so is the rest: parts of equal label are the cells.
    return connected_parts(np.where(rest > 0, rest + labels.max(initial=0), labels), diagonal=False)


def _large_parts(mask: np.ndarray, min_px: int) -> tuple[np.ndarray, int]:
    parts, count = connected_parts(mask, diagonal=False)
    kept = np.bincount(parts.ravel(), minlength=count + 1)[1:] >= min_px
    return renumbered(parts, kept), int(kept.sum())


@kernel
def _flood(labels: np.ndarray, landscape: np.ndarray, mask: np.ndarray, levels: np.ndarray) -> None:
    height, width = labels.shape
    # Pixels by the first level that they are above.
    level_of = np.full((height, width), -1, np.int8)
    counts = np.zeros(levels.size + 1, np.int64)
    for y in range(height):
        for x in range(width):
            if mask[y, x] and labels[y, x] == 0:
                for level in range(levels.size):
                    if landscape[y, x] >= levels[level]:
                        level_of[y, x] = level
                        counts[level + 1] += 1
                        break
    for level in range(levels.size):
        counts[level + 1] += counts[level]
    ends = counts[:-1].copy()
    pixels = np.empty(counts[-1], np.int64)
    for y in range(height):
        for x in range(width):
            level = level_of[y, x]
            if level >= 0:
                pixels[ends[level]] = y * width + x
                ends[level] += 1
    asked = np.zeros(
        (height, width), np.bool_
    )  # whether a pixel is among those that are asked next
    wave, following = np.empty(pixels.size, np.int64), np.empty(pixels.size, np.int64)
    found = np.empty(pixels.size, np.int32)
    for level in range(levels.size):
        size = 0
        for place in range(counts[level], counts[level + 1]):
            y, x = pixels[place] // width, pixels[place] % width
            if _greatest_around(labels, y, x) > 0:
                wave[size] = pixels[place]
                size += 1
        while size > 0:
            for place in range(size):
                found[place] = _greatest_around(labels, wave[place] // width, wave[place] % width)
            for place in range(size):
                labels[wave[place] // width, wave[place] % width] = found[place]
            count = 0
            for place in range(size):
                y, x = wave[place] // width, wave[place] % width
                for side in range(4):
                    to_y = y + (side == 1) - (side == 0)
                    to_x = x + (side == 3) - (side == 2)
                    if (
                        0 <= to_y < height
                        and 0 <= to_x < width
                        and labels[to_y, to_x] == 0
                        and 0 <= level_of[to_y, to_x] <= level
                        and not asked[to_y, to_x]
                    ):
                        asked[to_y, to_x] = True
                        following[count] = to_y * width + to_x
                        count += 1
            for place in range(count):
                asked[following[place] // width, following[place] % width] = False
            wave, following = following, wave
            size = count


@kernel
def _greatest_around(labels: np.ndarray, y: int, x: int) -> int:
    height, width = labels.shape
    greatest = 0
    if y > 0:
        greatest = max(greatest, labels[y - 1, x])
    if y + 1 < height:
        greatest = max(greatest, labels[y + 1, x])
    if x > 0:
        greatest = max(greatest, labels[y, x - 1])
    if x + 1 < width:
        greatest = max(greatest, labels[y, x + 1])
    return greatest
