"""`LabelBands`: a label map that is painted a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cellseg_mmdet.masks.column_runs import ColumnRuns
from cellseg_mmdet.masks.ragged import ragged_arange
from cellseg_mmdet.masks.runs import Runs


class LabelBands:
    """The rows of a label map of masks; beside the masks, memory is that of the rows that are asked for.

    Args:
        masks: N instances; the later one wins where they overlap.
        ids: (N,) what their pixels are; by default 1 + the index, in int32.

    Attributes:
        shape: height and width in pixels.
        dtype: of the labels, that of ``ids``.

    Example:
        >>> bands = LabelBands(Runs.from_label_map(np.array([[1, 1], [0, 2], [2, 2]])))
        >>> bands.rows(1, 3)
        array([[0, 2],
               [2, 2]], dtype=int32)
        >>> [rows.shape for rows in bands.bands(2)]
        [(2, 2), (1, 2)]
    """

    def __init__(self, masks: Runs, ids: np.ndarray | None = None) -> None:
        self._masks = masks
        self._ids = np.arange(1, len(masks) + 1, dtype=np.int32) if ids is None else ids
        self.shape = masks.height, masks.width
        self.dtype = self._ids.dtype
        boxes = masks.boxes
        self._top, self._bottom = boxes[:, 1], boxes[:, 3]

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Return rows ``begin`` to ``end`` (rows, width)."""
        width = self.shape[1]
        labels = np.zeros((end - begin, width), dtype=self.dtype)
        flat = labels.reshape(-1)
        some = np.flatnonzero((self._top < end) & (self._bottom > begin))
        ids = self._ids[some]
        for part in self._masks[some].split():
            runs = ColumnRuns.from_runs(part)
            top = np.maximum(runs.top, begin)
            length = np.maximum(np.minimum(runs.bottom, end) - top, 0)
            pixels = ragged_arange(top - begin, length) * width + np.repeat(runs.column, length)
            flat[pixels] = np.repeat(ids[runs.owner], length)
            ids = ids[len(part) :]
        return labels

    def bands(self, num_rows: int) -> Iterator[np.ndarray]:
        """Yield all rows from top to bottom, so many at a time."""
        for begin in range(0, self.shape[0], num_rows):
            yield self.rows(begin, min(begin + num_rows, self.shape[0]))
