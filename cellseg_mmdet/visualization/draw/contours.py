"""Contours of instances, drawn as lines by OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.visualization.draw.overlays import as_bgr, check_size, enlarge, neighbour_colors

Method = Literal["find", "canny"]
METHODS: tuple[str, ...] = get_args(Method)
# Between 0 and 255 there is nothing in a mask: any two thresholds find the same edges.
_CANNY_THRESHOLDS = (100, 200)
_MARGIN_PX = 2


def draw_contours(
    image: np.ndarray,
    masks: Runs,
    *,
    method: Method = "find",
    colors: np.ndarray | None = None,
    scale: int = 2,
) -> np.ndarray:
    """Draw the contour of every instance as a line, and nothing inside; smaller instances are drawn last.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        masks: N instances, of the image's size.
        method: 'find' draws the outermost pixels, by OpenCV's ``findContours``; 'canny' the edges that its Canny
            detector finds in each mask: J. Canny, "A Computational Approach to Edge Detection", IEEE TPAMI 8(6), 1986.
        colors: (N, 3) uint8 BGR, one of each instance; by default such that neighbours differ.
        scale: how many times the drawing is larger than the image; lines are one pixel of the drawing wide.

    Returns:
        (scale * H, scale * W, 3) uint8, BGR.

    Raises:
        ValueError: if the image is not uint8, gray or BGR, the masks are of another size, or for another method.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: must be one of {', '.join(map(repr, METHODS))}")
    canvas = enlarge(check_size(as_bgr(image), masks), scale)
    if colors is None:
        colors = neighbour_colors(masks)
    # Canny may see an edge on the outer side of a border: the frame is drawn with the bitmap, and cut off at the end.
    framed = cv2.copyMakeBorder(canvas, *(_MARGIN_PX,) * 4, cv2.BORDER_REPLICATE)
    bitmaps = RoIMasks.from_runs(masks)
    for index in np.argsort(-masks.areas, kind="stable").tolist():
        large = bitmaps.bitmap(index).repeat(scale, axis=0).repeat(scale, axis=1)
        edges = _EDGES[method](np.pad(large, _MARGIN_PX).astype(np.uint8))
        x1, y1 = bitmaps.boxes[index, :2] * scale
        window = framed[y1 : y1 + edges.shape[0], x1 : x1 + edges.shape[1]]
        window[edges > 0] = colors[index]
    return framed[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]


def _found_edges(bitmap: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(bitmap, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(bitmap), contours, -1, 255, 1)


def _canny_edges(bitmap: np.ndarray) -> np.ndarray:
    return cv2.Canny(bitmap * 255, *_CANNY_THRESHOLDS)


_EDGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "find": _found_edges,
    "canny": _canny_edges,
}
