"""`Outlines`: masks as polygons that run along the edges of their pixels, and back, pixel for pixel.

A corner of an outline is a point of the grid where exactly one or three of the four pixels around it are set, or two
that share nothing but this point. On each grid line across the image corners take turns in beginning and ending an
edge, and the same holds along it: sorted one way neighbours make the vertical edges, sorted the other way the
horizontal ones. So all rings of all cells are found by sorting, and no pixel is followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cellseg_mmdet.masks.ragged import offsets_from_lengths, ragged_arange, segment_ids
from cellseg_mmdet.masks.runs import Runs

# Columns of cells that are worked on together; each takes some 500 bytes.
_MAX_COLUMNS = 1 << 16

Polygon = list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Outlines:
    """The polygons of N instances of one image.

    A point (x, y) is the upper left corner of pixel (x, y), so that a mask of that pixel alone is the square from
    (x, y) to (x + 1, y + 1). Pieces of an instance that touch in a corner are polygons of their own. Every polygon is
    valid by the rules of OGC's Simple Features and GeoJSON: no ring passes a point twice, the inside is connected, the
    outer ring goes round counter-clockwise where y points up (clockwise on the screen) and holes the other way.

    Attributes:
        points: (P, 2) int32, x and y of the corners alone. A ring is not closed: its first point is not repeated.
        ring_offsets: (R + 1,) int64, ring ``r`` owns ``points[ring_offsets[r]:ring_offsets[r + 1]]``.
        polygon_offsets: (Q + 1,) int64, rings of each polygon: the outer one, then its holes.
        offsets: (N + 1,) int64, polygons of each instance; none where it has no pixel.
        height: image height in pixels.
        width: image width in pixels.

    Example:
        >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
        >>> outlines = Outlines.from_runs(Runs.from_label_map(ring))
        >>> [[part.tolist() for part in polygon] for polygon in outlines.polygons(0)]
        [[[[0, 3], [0, 0], [3, 0], [3, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]]]
        >>> (outlines.to_runs().to_label_map() == ring).all()
        np.True_
    """

    points: np.ndarray
    ring_offsets: np.ndarray
    polygon_offsets: np.ndarray
    offsets: np.ndarray
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        counts = f"{len(self)} instances, {len(self.polygon_offsets) - 1} polygons, {len(self.points)} points"
        return f"Outlines({counts}, height={self.height}, width={self.width})"

    def polygons(self, index: int) -> list[Polygon]:
        """Return the polygons of an instance, each a list of rings (P, 2): the outer one, then its holes."""
        found = []
        for polygon in range(self.offsets[index], self.offsets[index + 1]):
            rings = range(self.polygon_offsets[polygon], self.polygon_offsets[polygon + 1])
            bounds = [(self.ring_offsets[ring], self.ring_offsets[ring + 1]) for ring in rings]
            found.append([self.points[begin:end] for begin, end in bounds])
        return found

    def __iter__(self) -> Iterator[list[Polygon]]:
        return (self.polygons(index) for index in range(len(self)))

    @classmethod
    def from_runs(cls, masks: Runs) -> Outlines:
        """Find the outlines of all instances; `outlines_of` does it a part at a time."""
        parts = list(_parts(masks)) or [masks]
        return _joined([_traced(part) for part in parts])

    @property
    def ring_instances(self) -> np.ndarray:
        """Instance of each ring, (R,) int64."""
        of_polygon = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return np.repeat(of_polygon, np.diff(self.polygon_offsets))

    def to_runs(self) -> Runs:
        """Return the pixels whose centres are inside the polygons: those that they were made of.

        Inside is what an odd number of rings goes round. Points may be any numbers, also outside the image, of which
        nothing comes back.
        """
        return rasterised(
            self.points, self.ring_offsets, self.ring_instances, len(self), self.height, self.width
        )


def outlines_of(masks: Runs) -> Iterator[list[Polygon]]:
    """Yield the polygons of each instance as `Outlines.polygons` does, with those of some thousand cells in memory.

    Example:
        >>> [[len(polygon) for polygon in cell] for cell in outlines_of(Runs.from_label_map(np.eye(2, dtype=int)))]
        [[1, 1]]
    """
    for part in _parts(masks):
        yield from _traced(part)


def rasterised(
    points: np.ndarray,
    ring_offsets: np.ndarray,
    ring_instances: np.ndarray,
    num_instances: int,
    height: int,
    width: int,
) -> Runs:
    """Return the masks of pixels whose centres an odd number of the rings of an instance goes round.

    A centre on an edge belongs to the polygon on its right, or below it, so that polygons that share an edge share no
    pixel. Rings are not closed.

    Args:
        points: (P, 2) x and y.
        ring_offsets: (R + 1,) of the points of each ring.
        ring_instances: (R,) instance of each ring.
        num_instances: of the result.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    ring = segment_ids(ring_offsets)
    following: np.ndarray = np.arange(1, len(points) + 1)
    is_filled = np.diff(ring_offsets) > 0
    following[ring_offsets[1:][is_filled] - 1] = ring_offsets[:-1][is_filled]
    begin, end = points, points[following]
    low, high = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
    # Columns whose centres x + 1/2 are in [low, high).
    first = np.ceil(low - 0.5).clip(0, width).astype(np.int64)
    last = np.ceil(high - 0.5).clip(0, width).astype(np.int64)
    edge = np.repeat(np.arange(len(points)), last - first)
    x = ragged_arange(first, last - first)
    slope = (end[edge, 1] - begin[edge, 1]) / (end[edge, 0] - begin[edge, 0])
    y = begin[edge, 1] + (x + 0.5 - begin[edge, 0]) * slope
    row = np.ceil(y - 0.5).clip(0, height).astype(np.int64)
    # Of each column of an instance crossings take turns in entering and leaving.
    stride = height + 1
    keys = np.sort((ring_instances[ring[edge]] * width + x) * stride + row)
    column, row = np.divmod(keys, stride)
    owner, x = np.divmod(column[::2], max(width, 1))
    starts, lengths = x * height + row[::2], row[1::2] - row[::2]
    filled = lengths > 0
    offsets = offsets_from_lengths(np.bincount(owner[filled], minlength=num_instances))
    return Runs.from_sorted(starts[filled], lengths[filled], offsets, height, width)


def _parts(masks: Runs) -> Iterator[Runs]:
    """Yield whole instances of at most so many columns together, or one instance."""
    boxes = masks.boxes
    ends = np.cumsum(np.maximum(np.diff(masks.offsets), boxes[:, 2] - boxes[:, 0]))
    begin = 0
    while begin < len(masks):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _MAX_COLUMNS, side="right")))
        yield masks[begin:end]
        begin = end


def _joined(parts: list[Outlines]) -> Outlines:
    if len(parts) == 1:
        return parts[0]
    ring_offsets, polygon_offsets, offsets = (
        offsets_from_lengths(np.concatenate([np.diff(getattr(part, name)) for part in parts]))
        for name in ("ring_offsets", "polygon_offsets", "offsets")
    )
    points = np.concatenate([part.points for part in parts])
    size_hw = parts[0].height, parts[0].width
    return Outlines(points, ring_offsets, polygon_offsets, offsets, *size_hw)


class _Columns(NamedTuple):
    """Pixels of an instance below each other: column, first row, and the row past the last, all (C,)."""

    instance: np.ndarray
    x: np.ndarray
    top: np.ndarray
    bottom: np.ndarray


class _Corners(NamedTuple):
    """Corners, sorted by instance, x and y: each pair (2 k, 2 k + 1) is a vertical edge.

    A point where two pixels touch in nothing else is two corners: the edge above ends there, and one begins below.

    Attributes:
        instance: (2 E,) of each.
        x: (2 E,).
        y: (2 E,).
        is_left: (E,) bool, vertical edges that have their cell on the right.
        touching: (T,) index of the first of the two corners of each such point.
        falling: (T,) bool, the pixels are the upper left and the lower right one.
    """

    instance: np.ndarray
    x: np.ndarray
    y: np.ndarray
    is_left: np.ndarray
    touching: np.ndarray
    falling: np.ndarray


def _traced(masks: Runs) -> Outlines:
    columns = _columns(masks)
    corners = _corners(columns, masks)
    # First as if pixels that touch in a corner were apart: each piece of a cell has one outer ring then.
    horizontal = _horizontal(corners, corners.falling, masks)
    following = _following(corners, horizontal)
    ring = _rings(following)
    piece = _pieces(corners, horizontal, ring, columns, masks)
    # A ring that passes such a corner twice is cut there, into an outer ring and a hole or into two holes. Several
    # cuts of one ring do not get into each other's way: they are chords on its one side, and do not cross.
    is_same = ring[corners.touching // 2] == ring[corners.touching // 2 + 1]
    if is_same.any():
        following = _following(corners, _horizontal(corners, corners.falling ^ is_same, masks))
        ring = _rings(following)
    return _assembled(corners, following, ring, piece, masks)


def _columns(masks: Runs) -> _Columns:
    """Cut runs that go on at the top of the next column."""
    height = max(masks.height, 1)
    ends = masks.starts + masks.lengths
    first, last = masks.starts // height, (ends - 1) // height
    counts = last - first + 1
    x = ragged_arange(first, counts)
    run = np.repeat(np.arange(len(counts)), counts)
    top = np.where(x == first[run], masks.starts[run] - x * height, 0)
    bottom = np.where(x == last[run], ends[run] - x * height, height)
    return _Columns(segment_ids(masks.offsets)[run], x, top, bottom)


def _corners(columns: _Columns, masks: Runs) -> _Corners:
    # Along a grid line the sum of these is 1 where the cell is on its right alone, -1 where on its left alone.
    line = columns.instance * (masks.width + 1) + columns.x
    keys = [
        (line + right) * (masks.height + 1) + y
        for right in (0, 1)
        for y in (columns.top, columns.bottom)
    ]
    key = np.concatenate(keys)
    changes = np.repeat(np.array([1, -1, -1, 1]), len(line))
    order = np.argsort(key, kind="stable")
    key, changes = key[order], changes[order]
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    change = np.add.reduceat(changes, begins) if len(begins) else changes
    key, change = key[begins[change != 0]], change[change != 0]
    counts = np.abs(change)
    line, y = np.divmod(np.repeat(key, counts), masks.height + 1)
    instance, x = np.divmod(line, masks.width + 1)
    is_left = np.repeat(change > 0, counts)[::2]
    at, is_two = offsets_from_lengths(counts)[:-1], counts == 2
    return _Corners(instance, x, y, is_left, at[is_two], change[is_two] > 0)


def _horizontal(corners: _Corners, left_first: np.ndarray, masks: Runs) -> np.ndarray:
    """Return all corners (2 E,) such that each pair (2 k, 2 k + 1) is a horizontal edge; by instance, y and x.

    Args:
        corners: with E edges.
        left_first: (T,) bool, of touching corners those where the edge above is joined to the horizontal one on the
            left, and the edge below to that on the right; else the other way round.
        masks: for their size.
    """
    key = 2 * _place(corners.instance, corners.y, corners.x, masks)
    key[corners.touching + left_first] += 1
    return np.argsort(key, kind="stable")


def _place(instance: np.ndarray, y: np.ndarray, x: np.ndarray, masks: Runs) -> np.ndarray:
    return (instance * (masks.height + 1) + y) * (masks.width + 1) + x


def _following(corners: _Corners, horizontal: np.ndarray) -> np.ndarray:
    """Return the vertical edge (E,) that follows each one on its ring."""
    partner = np.empty(len(horizontal), dtype=np.int64)
    partner[horizontal[::2]], partner[horizontal[1::2]] = horizontal[1::2], horizontal[::2]
    ends = np.arange(0, len(horizontal), 2) + ~corners.is_left
    return partner[ends] // 2


def _rings(following: np.ndarray) -> np.ndarray:
    """Return the least edge (E,) of the ring of each edge, by looking twice as far ahead each time."""
    least: np.ndarray = np.arange(len(following))
    ahead = following
    while True:
        lower = np.minimum(least, least[ahead])
        if np.array_equal(lower, least):
            return least
        least, ahead = lower, ahead[ahead]


def _positions(following: np.ndarray, ring: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the place (E,) of each edge on its ring of so many, from 0 for the least one, by doubling as well."""
    is_root = ring == np.arange(len(ring))
    ahead = np.where(is_root, ring, following)
    left = np.where(is_root, 0, 1)  # steps to the root
    while left[ahead].any():
        left, ahead = left + left[ahead], ahead[ahead]
    return (sizes - left) % sizes


def _pieces(
    corners: _Corners, horizontal: np.ndarray, ring: np.ndarray, columns: _Columns, masks: Runs
) -> np.ndarray:
    """Return the connected piece (E,) that each edge is of: a column of pixels joins the rings above and below it."""
    begins = horizontal[::2]
    place = _place(corners.instance[begins], corners.y[begins], corners.x[begins], masks)
    ends = tuple(
        ring[begins[np.searchsorted(place, wanted, side="right") - 1] // 2]
        for wanted in (
            _place(columns.instance, y, columns.x, masks) for y in (columns.top, columns.bottom)
        )
    )
    shape = len(ring), len(ring)
    links = coo_matrix((np.ones(len(columns.x), bool), ends), shape=shape)
    return connected_components(links, directed=False)[1][ring]


def _assembled(
    corners: _Corners, following: np.ndarray, ring: np.ndarray, piece: np.ndarray, masks: Runs
) -> Outlines:
    """Put the rings in order: by instance, by piece from left to right, each outer ring before its holes."""
    roots, number, sizes = np.unique(ring, return_inverse=True, return_counts=True)
    place = offsets_from_lengths(sizes)[number] + _positions(following, ring, sizes[number])
    begins = np.arange(0, 2 * len(ring), 2) + corners.is_left
    points = np.empty((len(ring), 2, 2), dtype=np.int32)
    for side, corner in enumerate((begins, begins ^ 1)):
        points[place, side, 0], points[place, side, 1] = corners.x[corner], corners.y[corner]

    # The least edge of an outer ring, which is its left end, has the cell on its right, that of a hole on its left.
    is_outer = corners.is_left[roots]
    instance = corners.instance[2 * roots]
    least_of_piece = np.full(len(ring), len(ring))
    np.minimum.at(least_of_piece, piece[roots], roots)
    order = np.lexsort((roots, ~is_outer, least_of_piece[piece[roots]], instance))
    outer = np.flatnonzero(is_outer[order])
    return Outlines(
        points[ragged_arange(offsets_from_lengths(sizes)[order], sizes[order])].reshape(-1, 2),
        offsets_from_lengths(2 * sizes[order]),
        np.append(outer, len(roots)).astype(np.int64),
        np.searchsorted(instance[order][outer], np.arange(len(masks) + 1)).astype(np.int64),
        masks.height,
        masks.width,
    )
