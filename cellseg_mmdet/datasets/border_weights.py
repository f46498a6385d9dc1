"""The weight map of the U-Net paper: background pixels between close cells weigh more."""

from __future__ import annotations

import math

import cv2
import numpy as np

from cellseg_mmdet.masks.roi_masks import RoIMasks

# A cell is seen as far as this many sigma. What is left out is less than w0 * exp(-8), 0.00034 of w0.
_REACH_SIGMA = 4
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def border_weights(masks: RoIMasks, w0: float = 10.0, sigma_px: float = 5.0) -> np.ndarray:
    """Return w0 * exp(-(d1 + d2)^2 / (2 sigma^2)), (H, W) float32 in [0, w0].

    d1 and d2 are the distances in pixels to the border of the nearest cell and of the second nearest one (Ronneberger,
    Fischer and Brox, 2015, equation 2, without w_c). The border is the pixels of a cell that share an edge with a pixel
    outside it. So touching cells, between which there is no gap, have the weight on both sides of their seam. An image
    with fewer than two cells has no weight at all.

    The cost is that of a window around each cell, as far as its weight reaches.

    Args:
        masks: the cells; they may overlap.
        w0: weight where the borders of two cells share a pixel.
        sigma_px: in pixels.
    """
    reach = math.ceil(_REACH_SIGMA * sigma_px)
    nearest = np.full((masks.height, masks.width), np.inf, dtype=np.float32)
    second = nearest.copy()
    for index in np.flatnonzero(masks.areas):
        x1, y1, x2, y2 = masks.boxes[index].tolist()
        left, top = max(x1 - reach, 0), max(y1 - reach, 0)
        right, bottom = min(x2 + reach, masks.width), min(y2 + reach, masks.height)
        window = np.zeros((bottom - top, right - left), dtype=np.uint8)
        window[y1 - top : y2 - top, x1 - left : x2 - left] = masks.bitmap(index)
        border = window - cv2.erode(window, _CROSS)
        if not border.any():
            continue  # it fills the image
        distance = cv2.distanceTransform(1 - border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        d1, d2 = nearest[top:bottom, left:right], second[top:bottom, left:right]
        np.minimum(d2, np.maximum(d1, distance), out=d2)
        np.minimum(d1, distance, out=d1)
    nearest += second
    return w0 * np.exp(np.square(nearest, out=nearest) / (-2 * sigma_px**2))
