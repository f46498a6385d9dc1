"""Boxes of instances in the two ways in which they are written."""

from __future__ import annotations

import numpy as np


def to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) as COCO has them, (x, y, width, height), in place of (x1, y1, x2, y2).

    Example:
        >>> to_xywh(np.array([[2, 3, 7, 9]])).tolist()
        [[2, 3, 5, 6]]
    """
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
