"""Non-maximum suppression of boxes: hard, soft (Bodla et al., 2017), and with the suppressed boxes as groups."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.ops.tensors import as_array, give

FEW = 64  # boxes that are compared with all others, wherever they lie


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes that no kept box of a higher score overlaps by more than the threshold.

    Boxes of equal score come in the order of ``scores.sort(descending=True)``, those with a NaN score first.
    NaN coordinates compare as in the compiled operator: such a box is kept, as its overlaps are NaN.

    Args:
        boxes: (N, 4) xyxy, in pixels.
        scores: (N,).
        iou_threshold: a box is dropped where the intersection over union is greater.
        offset: 0, or 1 where a box includes its last pixel: the width is ``x2 - x1 + offset``.

    Returns:
        (K,) int64, by descending score.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
        >>> nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5, 0)
        tensor([1, 2])
    """
    _check(boxes, scores, columns=4)
    if boxes.shape[0] == 0:
        return torch.empty(0, dtype=torch.int64)
    order = scores.detach().sort(0, descending=True)[1].numpy()
    array = as_array(boxes)
    owners = _owners(array, order, array.dtype.type(np.float32(iou_threshold)), offset)
    return torch.from_numpy(order[owners == np.arange(len(owners))])


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes: each kept box, followed by those that it suppresses, by descending score.

    Args:
        dets: (N, 5) xyxy in pixels and score.
        iou_threshold: a box is suppressed where the intersection over union is this or greater.

    Returns:
        One list of indices a group, by descending score of the kept box.

    Raises:
        ValueError: the shape does not fit.

    Example:
        >>> dets = torch.tensor([[0.0, 0, 10, 10, 0.5], [0, 0, 10, 9, 0.9], [20, 20, 30, 30, 0.1]])
        >>> nms_match(dets, 0.5)
        [[1, 0], [2]]
    """
    _check(dets, None, columns=5)
    if dets.shape[0] == 0:
        return []
    order = dets[:, 4].detach().contiguous().sort(0, descending=True)[1].numpy()
    array = as_array(dets)
    real = array.dtype.type
    # What is not less than the threshold is greater than the number just below it.
    owners = _owners(array, order, np.nextafter(real(np.float32(iou_threshold)), real(-np.inf)), 0)
    groups: dict[int, list[int]] = {}
    for index, owner in zip(order.tolist(), owners.tolist(), strict=True):
        groups.setdefault(owner, []).append(index)
    return list(groups.values())


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
    """Lower the scores of boxes that overlap a better one, and drop those that fall below ``min_score``.

    Args:
        boxes: (N, 4) xyxy, in pixels.
        scores: (N,).
        dets: (N, 5), written: the first K rows become the kept boxes and their new scores.
        iou_threshold: for methods 0 and 1: overlaps from here on count.
        sigma: for method 2: the score is multiplied by ``exp(-IoU^2 / sigma)``.
        min_score: boxes that fall below are dropped.
        method: 0 naive (the score becomes 0), 1 linear (times 1 - IoU), 2 gaussian.
        offset: 0, or 1 where a box includes its last pixel.

    Returns:
        (K,) int64 indices of the kept boxes, by descending new score.

    Raises:
        ValueError: the shapes do not fit, or there is no such method.

    Example:
        >>> boxes, dets = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]]), torch.empty(2, 5)
        >>> softnms(boxes, torch.tensor([0.5, 0.75]), dets, 0.3, 0.5, 0.1, 1, 0)
        tensor([1, 0])
        >>> dets[:, 4]
        tensor([0.7500, 0.2500])
    """
    _check(boxes, scores, columns=4)
    if method not in (0, 1, 2):
        raise ValueError(
            f"softnms: method is {method}; it is 0 (naive), 1 (linear) or 2 (gaussian)"
        )
    if tuple(dets.shape) != (boxes.shape[0], 5):
        raise ValueError(f"softnms: dets has shape {tuple(dets.shape)}, not ({boxes.shape[0]}, 5)")
    array, output = as_array(boxes), as_array(dets)
    real = array.dtype.type
    # Columns of its own: the kernel swaps and overwrites them.
    columns = np.concatenate([array.T, as_array(scores)[None], _areas(array, offset)[None]])
    columns = np.ascontiguousarray(columns, dtype=real)
    index = np.arange(len(array))
    settings = (real(np.float32(value)) for value in (iou_threshold, sigma, min_score))
    kept = _soften(columns, index, output.astype(real, copy=False), *settings, method, real(offset))
    give(dets, output)
    return torch.from_numpy(index[:kept])


def _check(boxes: Tensor, scores: Tensor | None, columns: int) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != columns:
        raise ValueError(f"boxes have shape {tuple(boxes.shape)}, not (N, {columns})")
    if scores is not None and tuple(scores.shape) != (boxes.shape[0],):
        raise ValueError(f"{boxes.shape[0]} boxes, but scores of shape {tuple(scores.shape)}")


def _areas(boxes: np.ndarray, offset: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        width, height = (boxes[:, 2:4] - boxes[:, :2] + boxes.dtype.type(offset)).T
        return width * height


def _owners(
    boxes: np.ndarray, order: np.ndarray, threshold: np.floating, offset: int
) -> np.ndarray:
    """Return, for each rank in ``order``, the rank of the box that keeps or suppresses it (its own where kept)."""
    # Few boxes are compared sooner than sorted.
    by_x = np.argsort(boxes[:, 0]) if len(boxes) > FEW else np.arange(len(boxes))
    return _suppress(boxes, by_x, order, threshold, boxes.dtype.type(offset))


@kernel
def _suppress(
    boxes: np.ndarray, by_x: np.ndarray, order: np.ndarray, threshold: float, offset: float
) -> np.ndarray:
    """Return the owners by rank; ``by_x`` lists the boxes by ascending x1, ``order`` by descending score."""
    count = by_x.size
    zero = offset - offset
    # Rows of numbers of one kind, the boxes by ascending x1; `reach` is the greatest x2 up to there.
    columns, reach = np.empty((5, count), boxes.dtype), np.empty(count, boxes.dtype)
    place_of = np.empty(count, np.int64)
    # A pair apart in x has no overlap, which is never above a threshold from 0 on. NaN is not in any order.
    everywhere = not threshold >= 0 or count <= FEW
    for place in range(count):
        box = by_x[place]
        place_of[box] = place
        for side in range(4):
            columns[side, place] = boxes[box, side]
            everywhere |= np.isnan(boxes[box, side])
        width = boxes[box, 2] - boxes[box, 0] + offset
        columns[4, place] = width * (boxes[box, 3] - boxes[box, 1] + offset)
        reach[place] = boxes[box, 2]
        if place > 0 and reach[place - 1] > reach[place]:
            reach[place] = reach[place - 1]
    owner = np.full(count, -1, np.int32)
    for rank in range(count):
        place = place_of[order[rank]]
        if owner[place] >= 0:
            continue
        turn = np.int32(rank)  # as wide as a float32: one vector holds as many
        owner[place] = turn
        left, top, right, bottom, area = columns[:, place]
        start, stop = 0, count
        if not everywhere:
            # Twice the offset: the difference of two coordinates may be rounded before it is added.
            start = _first_above(reach, left - 2.0 * offset)
            stop = _first_above(columns[0], right + 2.0 * offset)
        lefts, tops = columns[0, start:stop], columns[1, start:stop]
        rights, bottoms = columns[2, start:stop], columns[3, start:stop]
        areas, owners = columns[4, start:stop], owner[start:stop]
        # No branch in here, so that the compiler makes vector instructions of it. Which side a comparison takes
        # where one number is NaN is the compiled operator's choice.
        for other in range(owners.size):
            x1 = lefts[other] if left < lefts[other] else left
            y1 = tops[other] if top < tops[other] else top
            x2 = rights[other] if rights[other] < right else right
            y2 = bottoms[other] if bottoms[other] < bottom else bottom
            width = x2 - x1 + offset
            height = y2 - y1 + offset
            width = width if width > zero else zero
            height = height if height > zero else zero
            shared = width * height
            overlap = shared / (area + areas[other] - shared)
            free = owners[other] < 0
            owners[other] = turn if free & (overlap > threshold) else owners[other]
    by_rank = np.empty(count, np.int32)
    for rank in range(count):
        by_rank[rank] = owner[place_of[order[rank]]]
    return by_rank


@kernel
def _first_above(ascending: np.ndarray, value: float) -> int:
    """Return the first index whose number is greater than ``value``, or the length."""
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] > value:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _soften(
    columns: np.ndarray,
    index: np.ndarray,
    dets: np.ndarray,
    threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: float,
) -> int:
    """Fill ``dets`` and order ``index``; return how many boxes stay.

    ``columns`` are x1, y1, x2, y2, score and area. A dropped box's place is taken by the last one: ties among
    the rest are decided by place, so this order is part of the result.
    """
    count = columns.shape[1]
    zero = offset - offset
    one = columns.dtype.type(1)
    score = columns[4]
    best = 0
    for place in range(1, count):
        if score[best] < score[place]:
            best = place
    turn = 0
    while turn < count:
        for row in range(6):
            columns[row, turn], columns[row, best] = columns[row, best], columns[row, turn]
        index[turn], index[best] = index[best], index[turn]
        for row in range(5):
            dets[turn, row] = columns[row, turn]
        left, top, right, bottom, _, area = columns[:, turn]
        best = turn + 1
        place = turn + 1
        while place < count:
            x1 = columns[0, place] if left < columns[0, place] else left
            y1 = columns[1, place] if top < columns[1, place] else top
            x2 = columns[2, place] if columns[2, place] < right else right
            y2 = columns[3, place] if columns[3, place] < bottom else bottom
            width = x2 - x1 + offset
            height = y2 - y1 + offset
            width = width if width > zero else zero
            height = height if height > zero else zero
            shared = width * height
            overlap = shared / (area + columns[5, place] - shared)
            weight = one
            if method == 2:
                weight = math.exp(-(overlap * overlap) / sigma)
            elif overlap >= threshold:
                weight = one - overlap if method == 1 else zero
            score[place] *= weight
            if score[place] < min_score:
                count -= 1
                for row in range(6):
                    columns[row, place] = columns[row, count]
                index[place] = index[count]
            else:
                if score[best] < score[place]:
                    best = place
                place += 1
        turn += 1
    return count
