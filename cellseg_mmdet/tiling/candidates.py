"""`Candidates`: the best places of a dense head's maps, gathered tile by tile.

mmdet takes the ``nms_pre`` best of each level of the whole picture. Each tile hands in those that it owns; what cannot
be among the best any more is dropped at once. What is left goes through mmdet's own function, which sorts, decodes and
suppresses: equal scores in the order of their place (row by row, and anchor by anchor), as in the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg_mmdet.tiling.cover import Rect


class Candidates:
    """Candidates of one level.

    Args:
        size_hw: rows and columns of the level's map in the whole picture.
        num_anchors: at each point of the map.
        limit: how many are taken for the next step, mmdet's ``nms_pre``; 0 or less takes all.

    Example:
        >>> best = Candidates((1, 4), num_anchors=1, limit=1)
        >>> best.add(Rect(0, 0, 1, 2), torch.tensor([[0.5], [0.9]]), [torch.tensor([[1.0], [2.0]])])
        >>> best.add(Rect(0, 2, 1, 4), torch.tensor([[0.9], [0.1]]), [torch.tensor([[3.0], [4.0]])])
        >>> best.places(), best.values[0]
        (tensor([1, 2]), tensor([[2.],
                [3.]]))
    """

    def __init__(self, size_hw: tuple[int, int], *, num_anchors: int, limit: int) -> None:
        self.size_hw = size_hw
        self._num_anchors = num_anchors
        # One more than are taken: mmdet sorts only where there are more than it takes.
        self._limit = limit + 1 if limit > 0 else 0
        # Scores, places and values of the candidates: of those that were sorted out, and of the tiles since then.
        self._parts: list[list[Tensor]] = []
        # The lowest score of as many as stay: what is lower is not among the best.
        self._floor: Tensor | None = None

    def add(self, own: Rect, scores: Tensor, values: Sequence[Tensor]) -> None:
        """Add what a tile owns.

        Args:
            own: rows and columns of the map.
            scores: (points * anchors, classes), row by row.
            values: each (points * anchors, K), which the next step needs.
        """
        width = self.size_hw[1]
        rows = torch.arange(own.y0, own.y1, device=scores.device)[:, None, None]
        columns = torch.arange(own.x0, own.x1, device=scores.device)[None, :, None]
        anchors = torch.arange(self._num_anchors, device=scores.device)
        places = (((rows * width) + columns) * self._num_anchors + anchors).reshape(-1)
        best = scores.max(dim=1).values
        part = [best, places, *values]
        if self._floor is not None:
            chosen = ~(best < self._floor)
            part = [each[chosen] for each in part]
        self._parts.append(part)
        # Twice as many as stay are sorted at once, so that the time goes with the area.
        if self._limit and sum(len(part[0]) for part in self._parts) > 2 * self._limit:
            self._sort_out()

    def _sort_out(self) -> list[Tensor]:
        """Drop what is not among the best; return scores, places and values of the rest, by place."""
        if not self._parts:
            return [torch.zeros(0), torch.zeros(0, dtype=torch.int64)]
        if len(self._parts) == 1 and len(self._parts[0][0]) <= (self._limit or math.inf):
            return self._parts[0]
        joined = [torch.cat(same) for same in zip(*self._parts, strict=True)]
        chosen = self._best(joined[0], joined[1])
        self._parts = [[each[chosen] for each in joined]]
        if len(chosen) == self._limit:
            self._floor = self._parts[0][0].min()
        return self._parts[0]

    def _best(self, scores: Tensor, places: Tensor) -> Tensor:
        """Return the indices of the best, by place."""
        by_place = places.argsort()
        if self._limit and len(scores) > self._limit:
            ranked = scores[by_place].sort(descending=True, stable=True).indices
            by_place = by_place[ranked[: self._limit].sort().values]
        return by_place

    def places(self) -> Tensor:
        """Return the index (N,) int64 of each candidate among the anchors of the level, ascending."""
        return self._sort_out()[1]

    @property
    def values(self) -> list[Tensor]:
        """The values of all candidates, each (N, K), in the order of `places`."""
        return self._sort_out()[2:]

    def as_map(self, index: int) -> Tensor:
        """Return a value of all candidates as a map (K, N, 1) of one column, which mmdet's functions take."""
        return self.values[index].T[..., None]


def flat(values: Tensor, length: int) -> Tensor:
    """Return a map (1, anchors * length, h, w) as (points * anchors, length), as mmdet orders it."""
    return values[0].permute(1, 2, 0).reshape(-1, length)


def subset(instances: InstanceData, chosen: Tensor | slice) -> InstanceData:
    """Return copies of some instances: mmdet changes boxes in place."""
    part = instances[chosen]
    part.bboxes = part.bboxes.clone()
    return part
