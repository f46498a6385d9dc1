"""From maps of probabilities to single cells: seeds, and a watershed around them."""

from __future__ import annotations

import cv2
import numpy as np

# Heights of the landscape that the flood stops at, on its way from the seeds' down to 0.
_NUM_LEVELS = 8


def split_cells(
    foreground: np.ndarray,
    boundary: np.ndarray | None = None,
    *,
    mask_thr: float = 0.5,
    seed_thr: float = 0.5,
    min_px: int = 1,
) -> np.ndarray:
    """Return a label map (H, W) int32: 0 for background, and the cells from 1 on, none left out.

    The landscape is the probability of being inside a cell: foreground and not boundary. Its connected parts above
    ``seed_thr`` are the seeds, which flood the foreground from the highest pixels of the landscape to the lowest
    (the watershed of Meyer, 1991), so that two cells meet where the boundary between them is clearest. Each connected
    part of the foreground that no seed reaches is a cell too. Without ``boundary``, and with ``seed_thr`` up to
    ``mask_thr``, cells are the connected parts of the foreground. Pixels that share an edge are connected.

    Args:
        foreground: (H, W) float, probability of being of a cell.
        boundary: (H, W) float, probability of being of a cell's rim.
        mask_thr: foreground is above this.
        seed_thr: seeds are above this.
        min_px: smaller seeds, and smaller parts that no seed reaches, are dropped.
    """
    mask = foreground > mask_thr
    landscape = foreground if boundary is None else foreground * (1 - boundary)
    labels = _parts(mask & (landscape > seed_thr), min_px)
    labels = _flood(labels, landscape, mask, seed_thr)
    rest = _parts(mask & (labels == 0), min_px)
    return np.where(rest > 0, rest + labels.max(initial=0), labels)


def _parts(mask: np.ndarray, min_px: int) -> np.ndarray:
    """Number the connected parts of a mask from 1 on, without those of fewer than ``min_px`` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= min_px
    kept[0] = False  # the background
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def _flood(
    seeds: np.ndarray, landscape: np.ndarray, mask: np.ndarray, highest: float
) -> np.ndarray:
    """Let seeds grow into the mask, level by level of the landscape; cost goes with the pixels of the mask."""
    # In a border of background every pixel has four neighbours.
    labels = np.pad(seeds, 1)
    width = labels.shape[1]
    flat = labels.ravel()
    around = np.array([-width, -1, 1, width])
    y, x = np.nonzero(mask & (seeds == 0))
    pending, heights = (y + 1) * width + x + 1, landscape[y, x]
    for level in np.linspace(highest, 0, _NUM_LEVELS + 1)[1:]:
        is_above = heights >= level
        pixels = pending[is_above]
        while len(pixels):
            found = flat[pixels[:, None] + around].max(axis=1)
            is_reached = found > 0
            if not is_reached.any():
                break
            flat[pixels[is_reached]] = found[is_reached]
            pixels = pixels[~is_reached]
        is_left = flat[pending] == 0
        pending, heights = pending[is_left], heights[is_left]
    return labels[1:-1, 1:-1]
