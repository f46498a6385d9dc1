"""Keep the largest connected component of each mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cellseg_mmdet.masks.column_runs import ColumnRuns
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("LargestComponent")
class LargestComponent(Step):
    """Keep of each mask the connected part with the most pixels; of equal ones, the leftmost.

    Pixels that share no more than a corner are connected, so that a thin slanting branch stays on.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 1]]))
        >>> scores, labels = np.array([0.9]), np.array([0])
        >>> found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
        >>> LargestComponent()(found).masks.to_label_map()
        array([[1, 1, 0, 0]], dtype=int32)
    """

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        runs = ColumnRuns.from_runs(prediction.masks)
        part = runs.components(diagonal=True)
        area = np.bincount(part, weights=runs.bottom - runs.top)
        first_run = np.empty(len(area), dtype=np.int64)
        first_run[part[::-1]] = np.arange(len(part))[::-1]  # numpy keeps the last assigned
        owner = runs.owner[first_run]
        best_first = np.lexsort((first_run, -area, owner))
        is_best = np.diff(owner[best_first], prepend=-1) != 0
        kept = runs[np.isin(part, best_first[is_best])]
        masks = kept.to_runs(len(prediction), prediction.height, prediction.width)
        return replace(prediction, masks=masks)
