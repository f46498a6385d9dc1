"""Cells drawn as rectangles, whose overlaps are known on paper."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.masks import Runs

HEIGHT, WIDTH = 30, 60


def rectangles(*boxes: tuple[int, int, int, int]) -> Runs:
    """Return a mask for each box (x1, y1, x2, y2), x2 and y2 exclusive; they may overlap."""
    parts = []
    for x1, y1, x2, y2 in boxes:
        label_map = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
        label_map[y1:y2, x1:x2] = 1
        parts.append(Runs.from_label_map(label_map))
    return Runs.concatenate([Runs.empty(HEIGHT, WIDTH), *parts])
