"""Fusion as its papers write it: a box after the other, no arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellseg_mmdet.fusion import Detections

Box = tuple[float, float, float, float]


class Detection(NamedTuple):
    weight: float  # of the source, times the score
    label: int
    box: Box
    source: int
    index: int


def iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return shared / (sum(areas) - shared)


def pooled(sources: Sequence[Detections], weights: Sequence[float]) -> list[Detection]:
    return [
        Detection(
            weight * float(source.scores[i]),
            int(source.labels[i]),
            tuple(source.boxes[i].tolist()),
            number,
            i,
        )
        for number, (source, weight) in enumerate(zip(sources, weights, strict=True))
        for i in range(len(source))
    ]


def weighted_boxes(
    sources: Sequence[Detections], weights: Sequence[float], iou_thr: float
) -> list[tuple[float, int, Box, set[tuple[int, int]]]]:
    """Return score, label, box and the members (source, index) of each instance, by falling score."""
    clusters: list[list[Detection]] = []
    for one in sorted(pooled(sources, weights), key=lambda one: -one.weight):
        best, best_iou = None, iou_thr
        for cluster in clusters:
            if cluster[0].label != one.label or one.source in {member.source for member in cluster}:
                continue
            overlap = iou(one.box, mean_box(cluster))
            if overlap > best_iou:
                best, best_iou = cluster, overlap
        if best is None:
            clusters.append([one])
        else:
            best.append(one)
    fused = [
        (
            sum(member.weight for member in cluster) / sum(weights),
            cluster[0].label,
            mean_box(cluster),
            {(member.source, member.index) for member in cluster},
        )
        for cluster in clusters
    ]
    return sorted(fused, key=lambda instance: -instance[0])


def mean_box(cluster: Sequence[Detection]) -> Box:
    total = sum(member.weight for member in cluster)
    return tuple(
        sum(member.weight * member.box[side] for member in cluster) / total for side in range(4)
    )


def soft_nms(
    sources: Sequence[Detections],
    weights: Sequence[float],
    iou_thr: float,
    decay: str,
    sigma: float,
    least_score: float,
) -> list[tuple[float, Detection]]:
    """Return what stays and its score, by falling score; ``decay`` as in `suppression`."""
    greatest = max(weights)
    left = [[one.weight / greatest, one] for one in pooled(sources, weights)]
    stays = []
    while left:
        best = max(left, key=lambda entry: entry[0])
        left.remove(best)
        if best[0] < least_score:
            break
        stays.append((best[0], best[1]))
        for entry in left:
            overlap = iou(best[1].box, entry[1].box)
            if entry[1].label != best[1].label:
                continue
            if decay == "gaussian":
                entry[0] *= math.exp(-(overlap**2) / sigma)
            elif overlap > iou_thr:
                entry[0] *= 1 - overlap if decay == "linear" else 0
    return stays


def vote(bitmaps: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return the pixels (H, W) that members of at least half of the weight have."""
    total = sum(weight * bitmap for weight, bitmap in zip(weights, bitmaps, strict=True))
    return total >= sum(weights) / 2 - 1e-9
