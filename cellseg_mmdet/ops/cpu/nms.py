"""Non-maximum suppression of boxes: greedy, soft (Bodla et al. 2017, https://arxiv.org/abs/1704.04503), and by groups.

Equal to mmcv's compiled operators in every index: the same order of boxes (torch's descending sort, which decides on
equal scores and puts NaN first), the same arithmetic in the type of the boxes, the same comparisons.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Return the indices of the boxes that are kept, (K,) int64, by falling score.

    A box goes where its IoU with a kept box of higher score is above the threshold. A box with NaN in it overlaps
    none; IoU of two empty boxes is 0 / 0, which is above no threshold.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: from 0 to 1.
        offset: 1 where the last pixel belongs to the box, so that its width is x2 - x1 + 1.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
        >>> nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
        tensor([0, 2])
    """
    if not len(boxes):
        return torch.empty(0, dtype=torch.int64)
    order = scores.detach().sort(descending=True).indices
    corners = as_array(boxes.detach()[order].T)
    kept = np.ones(len(order), dtype=np.bool_)
    _suppress(corners, corners.dtype.type(iou_threshold), corners.dtype.type(offset), kept)
    return order[torch.from_numpy(kept)]


@kernel
def _suppress(corners: np.ndarray, iou_threshold: float, offset: float, kept: np.ndarray) -> None:
    """Clear ``kept`` where a box is suppressed; ``corners`` is (4, N) by falling score."""
    x1, y1, x2, y2 = corners[0], corners[1], corners[2], corners[3]
    zero = offset - offset
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    count = len(kept)
    for box in range(count):
        if not kept[box]:
            continue
        left, top, right, bottom, area = x1[box], y1[box], x2[box], y2[box], areas[box]
        for other in range(box + 1, count):
            # Of two values the first where they are not comparable, as C++ does with NaN.
            begin_x = x1[other] if left < x1[other] else left
            begin_y = y1[other] if top < y1[other] else top
            end_x = x2[other] if x2[other] < right else right
            end_y = y2[other] if y2[other] < bottom else bottom
            width, height = end_x - begin_x + offset, end_y - begin_y + offset
            width = width if zero < width else zero
            height = height if zero < height else zero
            intersection = width * height
            union = area + areas[other] - intersection
            kept[other] &= not (intersection / union > iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of boxes that overlap better ones; return the indices of those that stay, (K,) int64.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        dets: (N, 5); its first K rows are overwritten with the boxes that stay and their new scores.
        iou_threshold: from where on ``method`` 0 and 1 act.
        sigma: width of the Gaussian of ``method`` 2.
        min_score: boxes below are dropped.
        method: 0 drops, 1 multiplies by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: as in `nms`.
    """
    if not len(boxes):
        return torch.empty(0, dtype=torch.int64)
    rows = np.concatenate([as_array(boxes), as_array(scores)[:, None]], axis=1)
    real = rows.dtype.type
    indices = np.arange(len(rows))
    count = _soften(
        rows,
        indices,
        real(iou_threshold),
        real(sigma),
        real(min_score),
        method,
        real(offset),
        real(1),
    )
    dets[:count] = torch.from_numpy(rows[:count]).to(dets)
    return torch.from_numpy(indices[:count])


@kernel
def _soften(
    rows: np.ndarray,
    indices: np.ndarray,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: float,
    one: float,
) -> int:
    """Sort ``rows`` (x1, y1, x2, y2, score) and ``indices`` in place; return how many stay."""
    zero = one - one
    count = len(rows)
    first = 0
    while first < count:
        best = first
        for position in range(first + 1, count):
            if rows[best, 4] < rows[position, 4]:
                best = position
        if best != first:
            for column in range(5):
                rows[first, column], rows[best, column] = rows[best, column], rows[first, column]
            indices[first], indices[best] = indices[best], indices[first]
        left, top, right, bottom = rows[first, 0], rows[first, 1], rows[first, 2], rows[first, 3]
        area = (right - left + offset) * (bottom - top + offset)
        position = first + 1
        while position < count:
            x1, y1, x2, y2 = (
                rows[position, 0],
                rows[position, 1],
                rows[position, 2],
                rows[position, 3],
            )
            begin_x = x1 if left < x1 else left
            begin_y = y1 if top < y1 else top
            end_x = x2 if x2 < right else right
            end_y = y2 if y2 < bottom else bottom
            width, height = end_x - begin_x + offset, end_y - begin_y + offset
            width = width if zero < width else zero
            height = height if zero < height else zero
            intersection = width * height
            iou = intersection / (area + (x2 - x1 + offset) * (y2 - y1 + offset) - intersection)
            weight = one
            if method == 2:
                weight = np.exp(-(iou * iou) / sigma)
            elif iou >= iou_threshold:
                weight = zero if method == 0 else one - iou
            rows[position, 4] *= weight
            if rows[position, 4] < min_score:  # the last row takes its place
                count -= 1
                rows[position] = rows[count]
                indices[position] = indices[count]
            else:
                position += 1
        first += 1
    return count


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Return a list for each box that `nms` would keep: its index, then those of the boxes it suppresses.

    Unlike `nms`, an IoU of just the threshold suppresses.

    Args:
        dets: (N, 5) as x1, y1, x2, y2, score.

    Example:
        >>> dets = torch.tensor([[0.0, 0, 10, 10, 0.9], [1, 1, 10, 10, 0.8], [20, 20, 30, 30, 0.7]])
        >>> nms_match(dets, 0.5)
        [[0, 1], [2]]
    """
    if not len(dets):
        return []
    order = dets.detach()[:, 4].sort(descending=True).indices
    corners = as_array(dets.detach()[order, :4].T)
    group_of = _groups(corners, corners.dtype.type(iou_threshold), corners.dtype.type(0))
    groups: dict[int, list[int]] = {}
    for index, group in zip(order.tolist(), group_of.tolist(), strict=True):
        groups.setdefault(group, []).append(index)
    return list(groups.values())


@kernel
def _groups(corners: np.ndarray, iou_threshold: float, zero: float) -> np.ndarray:
    """Return for each of N boxes, by falling score, the position of the one that suppresses it, or its own."""
    x1, y1, x2, y2 = corners[0], corners[1], corners[2], corners[3]
    areas = (x2 - x1) * (y2 - y1)
    count = len(areas)
    group_of = np.arange(count)
    for box in range(count):
        if group_of[box] != box:
            continue
        for other in range(box + 1, count):
            if group_of[other] != other:
                continue
            begin_x = x1[other] if x1[box] < x1[other] else x1[box]
            begin_y = y1[other] if y1[box] < y1[other] else y1[box]
            end_x = x2[other] if x2[other] < x2[box] else x2[box]
            end_y = y2[other] if y2[other] < y2[box] else y2[box]
            width, height = end_x - begin_x, end_y - begin_y
            width = width if zero < width else zero
            height = height if zero < height else zero
            intersection = width * height
            if intersection / (areas[box] + areas[other] - intersection) >= iou_threshold:
                group_of[other] = box
    return group_of
