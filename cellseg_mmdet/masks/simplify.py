"""Outlines with fewer points, and what that costs.

Points are left out as D. Douglas and T. Peucker do it, "Algorithms for the reduction of the number of points required
to represent a digitized line or its caricature", Cartographica 10(2), 1973: all lines of all rings at once, level by
level.
"""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.masks.outlines import Outlines
from cellseg_mmdet.masks.ragged import (
    offsets_from_lengths,
    ragged_arange,
    segment_ids,
    segment_reduce,
    segment_sums,
)
from cellseg_mmdet.masks.runs import Runs

# Pairs of edges that are tried for a crossing at a time, some 100 MB.
_MAX_PAIRS = 1 << 20


def simplified(outlines: Outlines, tolerance_px: float) -> Outlines:
    """Leave out points such that no point left out is further than the tolerance from the line that replaces it.

    The points that stay are where they were. An instance of which a ring would cross itself or another one, or would be
    left without an area, keeps its outline: polygons stay valid.

    Args:
        outlines: of N instances.
        tolerance_px: in pixels, not negative; from 0.71, half the diagonal of a pixel, on it removes the steps of
            slanted edges.

    Example:
        >>> stairs = Outlines.from_runs(Runs.from_label_map(np.tri(6, dtype=int)))
        >>> simplified(stairs, 0.8).polygons(0)[0][0].tolist()
        [[0, 6], [0, 0], [1, 0], [6, 6]]
    """
    if tolerance_px < 0:
        raise ValueError(f"the tolerance must be 0 or more pixels; got {tolerance_px}")
    kept = _douglas_peucker(outlines, tolerance_px)
    reduced = _only(outlines, kept)
    spoilt = _spoilt(reduced)
    if spoilt.any():
        ring = segment_ids(outlines.ring_offsets)
        kept |= spoilt[outlines.ring_instances[ring]]
        reduced = _only(outlines, kept)
    return reduced


def iou_with(outlines: Outlines, masks: Runs) -> np.ndarray:
    """Return the intersection over union (N,) float64 of each instance's polygons and its mask; 1 where both are empty.

    Example:
        >>> masks = Runs.from_label_map(np.tri(6, dtype=int))
        >>> iou_with(simplified(Outlines.from_runs(masks), 0.8), masks).round(2)
        array([1.])
    """
    again = outlines.to_runs()
    shared = _intersections(again, masks)
    union = again.areas + masks.areas - shared
    return np.divide(shared, union, out=np.ones(len(masks)), where=union > 0)


def _intersections(first: Runs, second: Runs) -> np.ndarray:
    """Return the pixels (N,) that instance i of both has."""
    stride = first.height * first.width + 1
    places, changes = [], []
    for masks in (first, second):
        base = segment_ids(masks.offsets) * stride + masks.starts
        places += [base, base + masks.lengths]
        changes += [np.ones(len(base), np.int64), -np.ones(len(base), np.int64)]
    place, change = np.concatenate(places), np.concatenate(changes)
    order = np.argsort(place, kind="stable")
    place, depth = place[order], np.cumsum(change[order])
    lengths = np.where(depth[:-1] == 2, np.diff(place), 0)
    return np.bincount(place[:-1] // stride, weights=lengths, minlength=len(first)).astype(np.int64)


def _douglas_peucker(outlines: Outlines, tolerance_px: float) -> np.ndarray:
    """Return which points (P,) stay; of each ring two at least."""
    points = outlines.points.astype(np.float64)
    offsets = outlines.ring_offsets
    sizes = np.diff(offsets)
    # A ring is cut at its first point and the one furthest from it.
    from_first = np.hypot(*(points - np.repeat(points[offsets[:-1]], sizes, axis=0)).T)
    far = _argmax(from_first, offsets)
    kept = np.zeros(len(points), dtype=bool)
    kept[offsets[:-1]] = kept[far] = True
    begin, length = (
        np.concatenate([offsets[:-1], far]),
        np.concatenate([far - offsets[:-1], offsets[1:] - far]),
    )
    ring = np.tile(np.arange(len(sizes)), 2)
    while len(begin):
        # Points between the ends of each line; the end of the last one of a ring is its first point.
        ends = begin + length
        ends = np.where(ends == offsets[ring + 1], offsets[ring], ends)
        inner = offsets_from_lengths(length - 1)
        index = ragged_arange(begin + 1, length - 1)
        line = segment_ids(inner)
        distance = _distance(points[index], points[begin][line], points[ends][line])
        is_split = segment_reduce(np.maximum, distance, inner) > tolerance_px
        at = index[_argmax(distance, inner)[is_split]] if is_split.any() else index[:0]
        kept[at] = True
        first, last = begin[is_split], (begin + length)[is_split]
        begin, length = np.concatenate([first, at]), np.concatenate([at - first, last - at])
        ring = np.tile(ring[is_split], 2)
        is_long = length > 1
        begin, length, ring = begin[is_long], length[is_long], ring[is_long]
    return kept


def _argmax(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the index of the first largest value of each segment; of empty ones any index."""
    largest = np.repeat(segment_reduce(np.maximum, values, offsets), np.diff(offsets))
    places = np.where(values == largest, np.arange(len(values)), len(values))
    return segment_reduce(np.minimum, places, offsets)


def _distance(points: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return how far points (P, 2) are from the line between two others (P, 2 each)."""
    along, away = end - begin, points - begin
    length = (along**2).sum(axis=1)
    share = np.divide((along * away).sum(axis=1), length, out=0 * length, where=length > 0)
    return np.hypot(*(away - share.clip(0, 1)[:, None] * along).T)


def _only(outlines: Outlines, kept: np.ndarray) -> Outlines:
    lengths = segment_sums(kept.astype(np.int64), outlines.ring_offsets)
    return Outlines(
        outlines.points[kept],
        offsets_from_lengths(lengths),
        outlines.polygon_offsets,
        outlines.offsets,
        outlines.height,
        outlines.width,
    )


def _spoilt(outlines: Outlines) -> np.ndarray:
    """Return which instances (N,) have a ring that has no area or goes round the other way, or edges that meet."""
    points, offsets = outlines.points.astype(np.int64), outlines.ring_offsets
    after: np.ndarray = np.arange(1, len(points) + 1)
    after[offsets[1:] - 1] = offsets[:-1]
    ends = points[after]
    spoilt = np.zeros(len(outlines), dtype=bool)
    doubled_area = segment_sums(points[:, 0] * ends[:, 1] - points[:, 1] * ends[:, 0], offsets)
    doubled_area[outlines.polygon_offsets[:-1]] *= -1  # outer rings are positive, holes negative
    spoilt[outlines.ring_instances[doubled_area >= 0]] = True

    instance = outlines.ring_instances[segment_ids(offsets)]
    bounds = np.searchsorted(instance, np.arange(len(outlines) + 1))
    counts = np.diff(bounds)
    pairs = np.concatenate([[0], np.cumsum(counts**2)])
    begin = 0
    while begin < len(outlines):
        most = pairs[begin] + _MAX_PAIRS
        end = max(begin + 1, int(np.searchsorted(pairs, most, side="right")) - 1)
        first = np.arange(bounds[begin], bounds[end])
        number = counts[instance[first]]
        one, other = np.repeat(first, number), ragged_arange(bounds[instance[first]], number)
        one, other = one[one < other], other[one < other]
        corners = points[one], ends[one], points[other], ends[other]
        is_next = (after[one] == other) | (after[other] == one)
        crosses = np.where(is_next, _is_folded(*corners), _meet(*corners))
        spoilt[instance[one[crosses]]] = True
        begin = end
    return spoilt


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return on which side (P,) of the line from a to b each point c is: -1, 0 or 1."""
    return np.sign(
        (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    )


def _meet(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return whether the edges from a to b and from c to d have a point in common, (P,)."""
    is_near = (np.minimum(a, b) <= np.maximum(c, d)).all(axis=1)
    is_near &= (np.minimum(c, d) <= np.maximum(a, b)).all(axis=1)
    is_near &= _side(a, b, c) * _side(a, b, d) <= 0
    return is_near & (_side(c, d, a) * _side(c, d, b) <= 0)


def _is_folded(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return whether an edge goes back on the one before it, (P,)."""
    on_line = (_side(a, b, c) == 0) & (_side(a, b, d) == 0)
    return on_line & (((b - a) * (d - c)).sum(axis=1) < 0)
