"""What the predicted and the true masks of one image share: the one table that all metrics read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from cellseg_mmdet.masks import Runs, pairwise_intersection


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a predicted and a true mask of one image, P of them.

    Attributes:
        predicted: (P,) int64, index of the predicted mask.
        true: (P,) int64, index of the true mask.
        intersection: (P,) int64, pixels that both have.
        union: (P,) int64, pixels that at least one has.
    """

    predicted: np.ndarray
    true: np.ndarray
    intersection: np.ndarray
    union: np.ndarray

    def __len__(self) -> int:
        return len(self.predicted)

    @cached_property
    def iou(self) -> np.ndarray:
        """Intersection over union (P,) float64, in (0, 1]."""
        return self.intersection / self.union

    def select(self, index: np.ndarray) -> Pairs:
        """Return the pairs that a boolean or integer array picks, in its order."""
        return Pairs(
            self.predicted[index], self.true[index], self.intersection[index], self.union[index]
        )

    @cached_property
    def is_one_to_one(self) -> bool:
        """Whether no mask is in two of the pairs."""
        return bool((_occurs_once(self.predicted) & _occurs_once(self.true)).all())

    def one_to_one_count(self) -> int:
        """Return how many pairs can stand side by side if no mask is in two of them."""
        if self.is_one_to_one:
            return len(self)
        graph = csr_matrix((np.ones(len(self), dtype=bool), (self.predicted, self.true)))
        return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())

    def best_one_to_one(self) -> Pairs:
        """Return the pairs, no mask in two of them, whose sum of IoUs is the greatest."""
        alone = _occurs_once(self.predicted) & _occurs_once(self.true)
        contested = np.flatnonzero(~alone)
        if not len(contested):
            return self
        rows, row = np.unique(self.predicted[contested], return_inverse=True)
        columns, column = np.unique(self.true[contested], return_inverse=True)
        iou = np.zeros((len(rows), len(columns)))
        iou[row, column] = self.iou[contested]
        chosen = np.zeros(iou.shape, dtype=bool)
        chosen[linear_sum_assignment(iou, maximize=True)] = True
        # The assignment gives every row a column if there are enough, also one that it shares no pixel with: such an
        # entry is not among the pairs.
        return self.select(
            np.sort(np.append(np.flatnonzero(alone), contested[chosen[row, column]]))
        )


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The predicted and the true masks of one image; what they share is computed at first use, and once.

    Either may overlap among themselves, and masks may be empty.

    Raises:
        ValueError: at first use, if the two are of different image sizes.

    Example:
        >>> from cellseg_mmdet import Runs
        >>> predicted = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> true = Runs.from_label_map(np.array([[1, 1, 1, 0]]))
        >>> overlaps = Overlaps(predicted, true)
        >>> overlaps.pairs.iou, overlaps.foreground
        (array([0.66666667]), (3, 3, 2))
    """

    predicted: Runs
    true: Runs

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs that share a pixel, by predicted, then by true mask."""
        shared = pairwise_intersection(self.predicted, self.true)
        rows, columns = np.nonzero(shared)
        intersection = shared[rows, columns].astype(np.int64)
        union = self.predicted.areas[rows] + self.true.areas[columns] - intersection
        return Pairs(rows, columns, intersection, union)

    @cached_property
    def foreground(self) -> tuple[int, int, int]:
        """Pixels that any predicted mask has, that any true mask has, and that both have."""
        found, cells = _foreground(self.predicted), _foreground(self.true)
        return int(found.sum()), int(cells.sum()), int((found & cells).sum())


def _occurs_once(values: np.ndarray) -> np.ndarray:
    return np.bincount(values)[values] == 1 if len(values) else np.zeros(0, dtype=bool)


def _foreground(masks: Runs) -> np.ndarray:
    canvas = np.zeros(masks.height * masks.width, dtype=bool)
    canvas[masks.pixels()[0]] = True
    return canvas
