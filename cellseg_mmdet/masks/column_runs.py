"""Masks as runs that each lie in one column: what touches what, which parts are connected, where holes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from cellseg_mmdet.masks.ragged import offsets_from_lengths, ragged_arange, segment_ids
from cellseg_mmdet.masks.runs import Runs


@dataclass(frozen=True, eq=False)
class ColumnRuns:
    """R runs of N instances, sorted by instance, column and row; none crosses from one column to the next.

    Attributes:
        owner: (R,) int64, instance of each run.
        column: (R,) int64, x in pixels.
        top: (R,) int64, y of the first pixel.
        bottom: (R,) int64, one past y of the last pixel.
    """

    owner: np.ndarray
    column: np.ndarray
    top: np.ndarray
    bottom: np.ndarray

    @classmethod
    def from_runs(cls, masks: Runs) -> ColumnRuns:
        """Cut the runs of an image where they go on in the next column."""
        first, top = np.divmod(masks.starts, masks.height)
        last, end = np.divmod(masks.starts + masks.lengths - 1, masks.height)
        pieces = last - first + 1
        run, column = np.repeat(np.arange(len(first)), pieces), ragged_arange(first, pieces)
        return cls(
            segment_ids(masks.offsets)[run],
            column,
            np.where(column == first[run], top[run], 0),
            np.where(column == last[run], end[run] + 1, masks.height),
        )

    def to_runs(self, num_instances: int, height: int, width: int) -> Runs:
        """Join what goes on in the next column."""
        num_runs = np.bincount(self.owner, minlength=num_instances)
        starts = self.column * height + self.top
        offsets = offsets_from_lengths(num_runs)
        return Runs.from_sorted(starts, self.bottom - self.top, offsets, height, width)

    def __len__(self) -> int:
        return len(self.owner)

    def __getitem__(self, index: np.ndarray) -> ColumnRuns:
        return ColumnRuns(
            self.owner[index], self.column[index], self.top[index], self.bottom[index]
        )

    def merged(self, other: ColumnRuns) -> ColumnRuns:
        """Return the runs of both, which share no pixel, sorted."""
        both = ColumnRuns(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("owner", "column", "top", "bottom")
            )
        )
        begin, _, _ = both._on_one_axis()
        return both[np.argsort(begin, kind="stable")]

    def components(self, *, diagonal: bool) -> np.ndarray:
        """Return for each run (R,) the number of its connected part; parts of different instances differ.

        Args:
            diagonal: pixels that share no more than a corner are connected too.
        """
        begin, end, stride = self._on_one_axis()
        reach = 1 if diagonal else 0
        first = np.searchsorted(end, begin + stride - reach, side="right")
        last = np.searchsorted(begin, end + stride + reach, side="left")
        num_right = last - first
        right = ragged_arange(first, num_right)
        edges = np.ones(len(right)), right, offsets_from_lengths(num_right)
        graph = csr_matrix(edges, shape=(len(self), len(self)))
        return connected_components(graph, directed=False)[1]

    def holes(self) -> ColumnRuns:
        """Return the runs of background that their instance surrounds: no way leads out from side to side."""
        same_column = (self.owner[1:] == self.owner[:-1]) & (self.column[1:] == self.column[:-1])
        above = np.flatnonzero(same_column)
        gaps = ColumnRuns(
            self.owner[above], self.column[above], self.bottom[above], self.top[above + 1]
        )
        if not len(gaps):
            return gaps
        # A column of an instance spans from its first to its last pixel. Out of a gap leads where it borders, in the
        # columns to its sides, on what is above or below their span.
        starts_column = np.concatenate([[True], ~same_column])
        begins = np.flatnonzero(starts_column)
        top, bottom = self.top[begins], self.bottom[np.append(begins[1:], len(self)) - 1]
        owner, column = self.owner[begins], self.column[begins]
        here = (np.cumsum(starts_column) - 1)[above]
        is_open = np.zeros(len(gaps), dtype=bool)
        for side in (-1, 1):
            beside = (here + side).clip(0, len(begins) - 1)
            is_open |= (owner[beside] != gaps.owner) | (column[beside] != gaps.column + side)
            is_open |= (top[beside] > gaps.top) | (bottom[beside] < gaps.bottom)
        part = gaps.components(diagonal=False)
        leads_out = np.bincount(part, weights=is_open) > 0
        return gaps[~leads_out[part]]

    def _on_one_axis(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Return begin (R,) and end (R,) of all runs on one axis, and how far apart two columns are on it."""
        # A gap of two behind each column, and an empty column behind each instance, keep apart what is not connected.
        stride = int(self.bottom.max(initial=0)) + 2
        columns_of_one = int(self.column.max(initial=0)) + 2
        origin = (self.owner * columns_of_one + self.column) * stride
        return origin + self.top, origin + self.bottom, stride
