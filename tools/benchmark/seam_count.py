"""How many cells of a picture differ where it was cut into tiles, from those of the whole."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs

# A cell of the whole and one of the tiles are the same cell with other pixels if they share more than this.
_SAME_CELL_IOU = 0.5
# Less than this shows when the two are drawn over each other.
_NEARLY_EQUAL_IOU = 0.9


@dataclass(frozen=True)
class Found:
    """The cells of a picture.

    Attributes:
        masks: N of them.
        scores: (N,), or None of a model that gives none.
        labels: (N,) of their classes.
    """

    masks: Runs
    scores: np.ndarray | None
    labels: np.ndarray

    @classmethod
    def from_label_map(cls, label_map: np.ndarray, scores: np.ndarray | None) -> Found:
        """Take the cells of a label map (H, W); ``scores[i - 1]`` is that of cell i."""
        ids = np.unique(label_map)
        ids = ids[ids > 0]
        masks = Runs.from_label_map(label_map)
        return cls(masks, None if scores is None else scores[ids - 1], np.zeros(len(ids), int))


@dataclass(frozen=True)
class Differences:
    """What became of the cells of the whole.

    Attributes:
        cells: of the whole.
        changed: of the same class in the tiles with other pixels, but an IoU of more than 0.5.
        lost: that the tiles do not have.
        added: that only the tiles have.
        visibly_changed: of the changed ones those with an IoU of less than 0.9.
        largest_score_difference: of cells that both have; 0 of a model without scores.
    """

    cells: int = 0
    changed: int = 0
    lost: int = 0
    added: int = 0
    visibly_changed: int = 0
    largest_score_difference: float = 0.0

    @property
    def differ(self) -> int:
        """Cells that are not in both with the same pixels."""
        return self.changed + self.lost + self.added

    def __add__(self, other: Differences) -> Differences:
        return Differences(
            self.cells + other.cells,
            self.changed + other.changed,
            self.lost + other.lost,
            self.added + other.added,
            self.visibly_changed + other.visibly_changed,
            max(self.largest_score_difference, other.largest_score_difference),
        )


def differences(whole: Found, tiles: Found) -> Differences:
    """Compare the cells of a picture in tiles with those of the whole.

    Cells with the same pixels and class are paired first, those that are there more than once in the order of their
    scores; the others so that their IoUs have the largest sum.
    """
    _check_size(whole.masks, tiles.masks)
    pairs, left, right = _equal_pairs(whole, tiles)
    first, second = whole.masks[left], tiles.masks[right]
    shared = Overlaps(second, first).pairs
    same_class = tiles.labels[right][shared.predicted] == whole.labels[left][shared.true]
    near = shared.select((shared.iou > _SAME_CELL_IOU) & same_class).best_one_to_one()
    pairs = np.concatenate(
        [pairs, np.stack([left[near.true], right[near.predicted]], axis=1).reshape(-1, 2)]
    )
    score_difference = 0.0
    if whole.scores is not None and tiles.scores is not None and len(pairs):
        score_difference = float(
            np.abs(whole.scores[pairs[:, 0]] - tiles.scores[pairs[:, 1]]).max()
        )
    return Differences(
        cells=len(whole.masks),
        changed=len(near),
        lost=len(left) - len(near),
        added=len(right) - len(near),
        visibly_changed=int(np.count_nonzero(near.iou < _NEARLY_EQUAL_IOU)),
        largest_score_difference=score_difference,
    )


def total(parts: list[Differences]) -> Differences:
    """Return the sum over pictures."""
    return sum(parts, Differences())


def _check_size(whole: Runs, tiles: Runs) -> None:
    sizes = [(masks.height, masks.width) for masks in (whole, tiles)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"masks of {sizes[0]} and of {sizes[1]} pixels are not of one picture")


def _equal_pairs(whole: Found, tiles: Found) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs (P, 2) of cells that are equal, and the indices that are left of both."""
    waiting: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index in _by_score(tiles):
        waiting[_key(tiles, index)].append(index)
    pairs, left = [], []
    for index in _by_score(whole):
        same = waiting[_key(whole, index)]
        if same:
            pairs.append((index, same.pop(0)))
        else:
            left.append(index)
    right = sorted(index for indices in waiting.values() for index in indices)
    return (
        np.array(pairs, int).reshape(-1, 2),
        np.array(sorted(left), int),
        np.array(right, int),
    )


def _by_score(found: Found) -> list[int]:
    scores = np.zeros(len(found.masks)) if found.scores is None else found.scores
    return np.argsort(-scores, kind="stable").tolist()


def _key(found: Found, index: int) -> tuple[bytes, int]:
    masks = found.masks
    runs = slice(masks.offsets[index], masks.offsets[index + 1])
    return masks.starts[runs].tobytes() + masks.lengths[runs].tobytes(), int(found.labels[index])
