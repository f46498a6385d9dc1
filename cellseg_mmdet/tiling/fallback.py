"""Tiles for any model at all: overlap, and one tile that is responsible for each cell.

What a network finds near the edge of a window is not what it finds in the whole picture, so the result is near that of
the whole and not equal to it. Two things it never is: cut at a seam, or there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellseg_mmdet.masks.overlap import pairwise_intersection
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.tiling.cover import Cover, Rect
from cellseg_mmdet.tiling.merge import joined, placed

# A cell whose anchor lies this near a seam may have it on either side, as both tiles see it: both take it then, and one
# of the two goes.
_SEAM_PX = 8
_SAME_CELL = 0.5  # of the smaller one
_LEAST_OVERLAP = 32

# (rows and columns that are read) -> what the model finds there, as a picture of its own
PredictWindow = Callable[[Rect], ImagePrediction]


@dataclass(frozen=True)
class Overlapped:
    """What tiles with overlap found.

    Attributes:
        prediction: of the picture.
        num_windows: that were predicted, larger ones included.
        num_grown: cells that reached an inner edge of their window, and were predicted again in a larger one.
        num_cut: cells among them that reach the edge of the largest window that is allowed, and stay as they are.
        overlap: in pixels, at the end.
    """

    prediction: ImagePrediction
    num_windows: int
    num_grown: int
    num_cut: int
    overlap: int

    def notes(self) -> list[str]:
        """Return what users should know."""
        told = [
            f"predicted in {self.num_windows} overlapping tiles ({self.overlap} pixels): near that of the whole, "
            "not equal to it"
        ]
        if self.num_cut:
            told.append(
                f"{self.num_cut} cells are larger than the largest window, and cut: give more --memory"
            )
        return told


def predict_with_overlap(
    predict: PredictWindow,
    size_hw: tuple[int, int],
    tile: int,
    *,
    overlap: int | None = None,
    most_px: float = np.inf,
) -> Overlapped:
    """Predict a picture in tiles that overlap.

    A tile keeps the cells whose anchor, the middle of their box, lies in its core. A cell that meets the core and
    touches an edge of the window which is none of the picture's may go on beyond it: the tile is predicted again in a
    larger window, until no such cell is left. So the overlap follows the largest cells.

    Args:
        predict: the model, on a window.
        size_hw: height and width of the picture.
        tile: side of the cores in pixels.
        overlap: pixels around a core at first; by default an eighth of the tile. When half of the largest cells seen so
            far is more, that is taken for the tiles behind.
        most_px: windows of more pixels are not predicted.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> picture = np.zeros((40, 100), int)
        >>> picture[5:30, 20:90] = 1  # far larger than a tile
        >>> def predict(window):
        ...     seen = Runs.from_label_map(picture[window.rows, window.columns])
        ...     ones = np.ones(len(seen))
        ...     size = window.height, window.width
        ...     return ImagePrediction("a", 1, *size, seen.boxes, ones, np.zeros(len(seen), int), seen)
        >>> found = predict_with_overlap(predict, (40, 100), 40)
        >>> found.prediction.masks == Runs.from_label_map(picture), found.num_cut
        (True, 0)
    """
    current = max(_LEAST_OVERLAP, tile // 8) if overlap is None else overlap
    picture = Rect(0, 0, *size_hw)
    kept: list[ImagePrediction] = []
    num_windows = num_grown = num_cut = 0
    for core, _ in Cover(*size_hw, tile, 0):
        window = _grown(core, current, picture)
        while True:
            found = predict(window)
            num_windows += 1
            inside = core.within(window)
            touches = touches_inner_edge(found.masks.boxes, window, picture)
            cut = touches & _meets(found.masks.boxes, inside)
            larger = _grown(window, max(tile // 2, current), picture)
            if not cut.any():
                break
            if larger.height * larger.width > most_px:
                num_cut += np.count_nonzero(cut & _owns(found.masks.boxes, inside, 0))
                break
            num_grown += np.count_nonzero(cut)
            window = larger
        sides = found.masks.boxes[:, 2:] - found.masks.boxes[:, :2]
        if overlap is None and len(sides):
            current = max(current, min(int(sides.max()) // 2 + 2, tile))
        # One beyond the core that the window cuts is whole in the window of its own tile.
        is_own = _owns(found.masks.boxes, inside, 0) | (
            _owns(found.masks.boxes, inside, _SEAM_PX) & ~touches
        )
        own = found.select(np.flatnonzero(is_own))
        kept.append(_in_picture(own, window, size_hw))
    merged = _merged(kept, size_hw)
    seams = [core for core, _ in Cover(*size_hw, tile, 0)]
    counts = [len(part) for part in kept]
    merged = merged.select(_once(merged, np.repeat(np.arange(len(kept)), counts), seams))
    return Overlapped(merged, num_windows, num_grown, num_cut, current)


def touches_inner_edge(boxes: np.ndarray, window: Rect, picture: Rect) -> np.ndarray:
    """Return which boxes (N, 4) xyxy in pixels of a window touch an edge of it that is none of the picture's, (N,)."""
    x1, y1, x2, y2 = boxes.T
    is_there = (x2 > x1) & (y2 > y1)
    return is_there & (
        ((x1 <= 0) & (window.x0 > picture.x0))
        | ((y1 <= 0) & (window.y0 > picture.y0))
        | ((x2 >= window.width) & (window.x1 < picture.x1))
        | ((y2 >= window.height) & (window.y1 < picture.y1))
    )


def _grown(rect: Rect, by: int, picture: Rect) -> Rect:
    return Rect(
        max(rect.y0 - by, picture.y0),
        max(rect.x0 - by, picture.x0),
        min(rect.y1 + by, picture.y1),
        min(rect.x1 + by, picture.x1),
    )


def _meets(boxes: np.ndarray, core: Rect) -> np.ndarray:
    x1, y1, x2, y2 = boxes.T
    return (x1 < core.x1) & (x2 > core.x0) & (y1 < core.y1) & (y2 > core.y0)


def _owns(boxes: np.ndarray, core: Rect, margin: int) -> np.ndarray:
    """Return which boxes have their middle in the core, or at most ``margin`` pixels beside it."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    is_there = boxes[:, 2] > boxes[:, 0]
    return (
        is_there
        & (x >= core.x0 - margin)
        & (x < core.x1 + margin)
        & (y >= core.y0 - margin)
        & (y < core.y1 + margin)
    )


def _in_picture(
    prediction: ImagePrediction, window: Rect, size_hw: tuple[int, int]
) -> ImagePrediction:
    shift = np.array([window.x0, window.y0] * 2)
    return replace(
        prediction,
        height=size_hw[0],
        width=size_hw[1],
        boxes=(prediction.boxes + shift).astype(prediction.boxes.dtype),
        masks=placed(prediction.masks, window.y0, window.x0, size_hw),
    )


def _merged(parts: list[ImagePrediction], size_hw: tuple[int, int]) -> ImagePrediction:
    first = parts[0]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("boxes", "scores", "labels", "mask_scores", "soft_masks")
        if getattr(first, name) is not None
    }
    return replace(first, masks=joined([part.masks for part in parts], size_hw), **arrays)


def _once(prediction: ImagePrediction, tiles: np.ndarray, cores: list[Rect]) -> np.ndarray:
    """Return the instances that stay, of those that two tiles both took near their seam: the better one of the two."""
    boxes = prediction.masks.boxes
    inner = np.zeros(len(boxes), dtype=bool)
    for number, core in enumerate(cores):
        mine = tiles == number
        inner[mine] = _owns(boxes[mine], core, -4 * _SEAM_PX)
    near = np.flatnonzero(~inner)
    order = near[np.lexsort((near, -prediction.scores[near]))]
    gone = np.zeros(len(boxes), dtype=bool)
    areas = prediction.masks.areas
    for place, one in enumerate(order):
        if gone[one]:
            continue
        others = order[place + 1 :]
        others = others[
            ~gone[others]
            & (tiles[others] != tiles[one])
            & (prediction.labels[others] == prediction.labels[one])
            & (boxes[others, 0] < boxes[one, 2])
            & (boxes[others, 2] > boxes[one, 0])
            & (boxes[others, 1] < boxes[one, 3])
            & (boxes[others, 3] > boxes[one, 1])
        ]
        if len(others):
            shared = pairwise_intersection(prediction.masks[[one]], prediction.masks[others])[0]
            gone[others[shared > _SAME_CELL * np.minimum(areas[others], areas[one])]] = True
    return np.flatnonzero(~gone)
