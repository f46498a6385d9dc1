"""Which detections of several sources are one instance, and which box and score it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from cellseg_mmdet.fusion.detections import Detections, of_all
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.shared import shared_by_boxes, shared_by_masks

Overlap = Literal["box", "mask"]
Decay = Literal["hard", "linear", "gaussian"]

# Suppression drops what has, or has fallen to, a lower score; as in the code published with soft-NMS.
LEAST_SCORE = 0.001
# Weight of a detection with a score of 0: members of an instance that all have it weigh the same.
_LEAST_WEIGHT = 1e-100
# Area in pixels of two boxes without extent, which overlap by 0 then.
_LEAST_AREA = 1e-9


@dataclass(frozen=True, eq=False)
class Matches:
    """K fused instances, by falling score, and the detections that each is made of.

    Attributes:
        members: (K, S) int64, the detection that each of S sources contributes, -1 where none.
        weights: (K, S) float64, source weight x score of each member, 0 where there is none.
        boxes: (K, 4) float64 xyxy in pixels.
        scores: (K,) float64.
        labels: (K,) int64.
    """

    members: np.ndarray
    weights: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def weighted_fusion(
    sources: Sequence[Detections],
    weights: Sequence[float],
    *,
    iou_thr: float,
    overlap: Overlap = "box",
) -> Matches:
    """Weighted boxes fusion (Solovyev et al. 2019, arXiv:1910.13302), class by class.

    Detections are taken by falling weighted score. Each joins the instance that it overlaps most,
    if by more than ``iou_thr``, and begins one of its own else. The box of an instance is the mean
    of its members', weighted by source weight x score. Its score is the mean of theirs weighted by
    source weight, where a source without a member counts as a score of 0.

    Other than published, an instance takes one member of a source at most, for what a source tells
    apart are two cells. So equal sources fuse to what each of them is.

    Args:
        sources: S sources.
        weights: (S,) positive weight of each source.
        iou_thr: overlap that a detection must exceed to join an instance.
        overlap: IoU with the instance's 'box' so far, or with the 'mask' of its first member.

    Raises:
        ValueError: if masks are to be compared that a source does not have.

    Example:
        >>> box = np.array([[0.0, 0.0, 4.0, 4.0]])
        >>> sources = [Detections(box, np.array([score]), np.array([0])) for score in (0.9, 0.7)]
        >>> found = weighted_fusion(sources, [1.0, 1.0], iou_thr=0.5)
        >>> found.members, found.scores
        (array([[0, 0]]), array([0.8]))
    """
    pool = _Pool.of(sources, weights)
    overlaps = _FirstMaskOverlaps(pool) if overlap == "mask" else None
    capacity = len(pool.weights)
    members = np.full((capacity, len(sources)), -1)
    member_weights = np.zeros(members.shape)
    labels = np.zeros(capacity, dtype=np.int64)
    boxes = np.zeros((capacity, 4), order="F")  # column by column, as they are compared

    num = 0
    for i in range(capacity):
        source = pool.sources[i]
        iou = overlaps.of(i, num) if overlaps else _box_iou(pool.boxes[i], boxes[:num])
        iou[(labels[:num] != pool.labels[i]) | (members[:num, source] >= 0)] = 0
        instance = int(iou.argmax()) if num else 0
        if not num or iou[instance] <= iou_thr:
            instance, num = num, num + 1
            labels[instance] = pool.labels[i]
            if overlaps:
                overlaps.begin(i, instance)
        members[instance, source] = pool.indices[i]
        member_weights[instance, source] = pool.weights[i]
        share = pool.weights[i] / member_weights[instance].sum()
        boxes[instance] += share * (pool.boxes[i] - boxes[instance])

    scores = member_weights[:num].sum(axis=1) / np.sum(weights)
    order = np.argsort(-scores, kind="stable")
    return Matches(
        members[order], member_weights[order], boxes[order], scores[order], labels[order]
    )


def suppression(
    sources: Sequence[Detections],
    weights: Sequence[float],
    *,
    iou_thr: float,
    overlap: Overlap = "box",
    decay: Decay = "hard",
    sigma: float = 0.5,
) -> Matches:
    """Non-maximum suppression of the detections of all sources together, class by class.

    The best one stays as it is and lowers the scores of those that it overlaps; then the best of
    those left, and so on, down to `LEAST_SCORE`. What is soft is after Bodla et al. 2017,
    arXiv:1704.04503.

    Args:
        sources: S sources.
        weights: (S,) positive weight of each source; scores are multiplied by it, the greatest
            weight counting as 1.
        iou_thr: overlap that must be exceeded for 'hard' and 'linear' decay.
        overlap: IoU of 'box' or 'mask'.
        decay: what becomes of a score: 'hard' 0, 'linear' (1 - IoU) of it, 'gaussian'
            exp(-IoU^2 / sigma) of it, at any overlap.
        sigma: of 'gaussian', positive.

    Raises:
        ValueError: if masks are to be compared that a source does not have.

    Example:
        >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0]])
        >>> one = Detections(boxes, np.array([0.9, 0.8]), np.array([0, 0]))
        >>> suppression([one], [1.0], iou_thr=0.5).members
        array([[0]])
    """
    pool = _Pool.of(sources, np.asarray(weights) / np.max(weights))
    pairs = _pairwise_iou(pool, overlap)
    if decay == "gaussian":
        pairs.data = np.exp(-(pairs.data**2) / sigma)
    else:
        kept = 1 - pairs.data if decay == "linear" else 0
        pairs.data = np.where(pairs.data > iou_thr, kept, 1.0)

    scores = pool.weights.copy()
    waiting = scores.copy()
    chosen = []
    while len(waiting) and waiting[best := int(waiting.argmax())] >= LEAST_SCORE:
        chosen.append(best)
        scores[best] = waiting[best]
        waiting[best] = 0
        others, factors = _row(pairs, best)
        waiting[others] *= factors
    return pool.as_matches(np.array(chosen, dtype=np.int64), scores, len(sources))


class _Pool(NamedTuple):
    """The N detections of all sources together, by falling weight, which is source weight x score."""

    boxes: np.ndarray
    weights: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    indices: np.ndarray  # within the source
    masks: Runs | None  # if all sources have them

    @classmethod
    def of(cls, sources: Sequence[Detections], weights: Sequence[float] | np.ndarray) -> _Pool:
        boxes = np.concatenate([source.boxes for source in sources]).astype(np.float64)
        labels = np.concatenate([source.labels for source in sources]).astype(np.int64)
        weighted = [
            source.scores.astype(np.float64) * weight
            for source, weight in zip(sources, weights, strict=True)
        ]
        weight = np.concatenate(weighted).clip(min=_LEAST_WEIGHT)
        masks = of_all(sources, "masks")
        # Equal weights are told apart by the boxes, so that the order of the sources does not matter.
        order = np.lexsort([*boxes.T, labels, -weight])
        return cls(
            boxes[order],
            weight[order],
            labels[order],
            np.repeat(np.arange(len(sources)), [len(source) for source in sources])[order],
            np.concatenate([np.arange(len(source)) for source in sources])[order],
            None if masks is None else Runs.concatenate(masks)[order],
        )

    def as_matches(self, chosen: np.ndarray, scores: np.ndarray, num_sources: int) -> Matches:
        """Return the chosen detections, each an instance of its own."""
        rows, sources = np.arange(len(chosen)), self.sources[chosen]
        members = np.full((len(chosen), num_sources), -1)
        members[rows, sources] = self.indices[chosen]
        weights = np.zeros(members.shape)
        weights[rows, sources] = self.weights[chosen]
        return Matches(members, weights, self.boxes[chosen], scores[chosen], self.labels[chosen])


def _pairwise_iou(pool: _Pool, overlap: Overlap) -> csr_matrix:
    """Return the IoU (N, N) of all pairs of one class that share anything, without the diagonal."""
    if overlap == "box":
        areas = (pool.boxes[:, 2] - pool.boxes[:, 0]) * (pool.boxes[:, 3] - pool.boxes[:, 1])
        shared = shared_by_boxes(pool.boxes)
    elif pool.masks is not None:
        areas, shared = pool.masks.areas, shared_by_masks(pool.masks)
    else:
        raise ValueError("overlap of masks: not every source has binary masks")
    iou = shared.area / (areas[shared.first] + areas[shared.second] - shared.area)
    same = pool.labels[shared.first] == pool.labels[shared.second]
    one, other = shared.first[same], shared.second[same]
    rows, columns = np.concatenate([one, other]), np.concatenate([other, one])
    shape = len(pool.weights), len(pool.weights)
    return csr_matrix((np.tile(iou[same], 2), (rows, columns)), shape=shape)


def _row(matrix: csr_matrix, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of a row that something is stored in, and what it is."""
    part = slice(matrix.indptr[i], matrix.indptr[i + 1])
    return matrix.indices[part], matrix.data[part]


class _FirstMaskOverlaps:
    """The mask IoU of a detection with the first member of each instance there is."""

    def __init__(self, pool: _Pool) -> None:
        self._pairs = _pairwise_iou(pool, "mask")
        self._instance_of = np.full(len(pool.weights), -1)

    def begin(self, i: int, instance: int) -> None:
        self._instance_of[i] = instance

    def of(self, i: int, num_instances: int) -> np.ndarray:
        others, iou = _row(self._pairs, i)
        instances = self._instance_of[others]
        found = np.zeros(num_instances)
        found[instances[instances >= 0]] = iou[instances >= 0]
        return found


def _box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the IoU (K,) of a box (4,) with boxes (K, 4)."""
    x1, y1, x2, y2 = boxes.T
    width = np.minimum(box[2], x2) - np.maximum(box[0], x1)
    height = np.minimum(box[3], y2) - np.maximum(box[1], y1)
    shared = width.clip(min=0) * height.clip(min=0)
    union = (box[2] - box[0]) * (box[3] - box[1]) + (x2 - x1) * (y2 - y1) - shared
    return shared / np.maximum(union, _LEAST_AREA)
