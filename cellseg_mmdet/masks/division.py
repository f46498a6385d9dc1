"""Pixels that masks share, given to one of them: work and memory grow with the runs that meet, not with the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cellseg_mmdet.masks.column_runs import ColumnRuns
from cellseg_mmdet.masks.ragged import offsets_from_lengths, ragged_arange, segment_ids
from cellseg_mmdet.masks.runs import Runs

# Pieces of runs, or pixels of them, that are looked at together; each takes some 60 bytes.
_AT_ONCE = 1 << 19
# No piece is longer, so that a few masks of the whole picture do not make one that is.
_LONGEST_PIECE_PX = 1 << 14


def divided(masks: Runs, worst_first: np.ndarray, *, nearest: bool = False) -> Runs:
    """Return the masks without the pixels that go to others: N instances, some of which may be empty.

    Runs that meet no run of another instance stay as they are. The others are cut where one of them begins or ends:
    within a piece the same masks hold every pixel.

    Args:
        masks: N instances that may overlap.
        worst_first: (N,) order of the instances, in which a later one takes pixels from an earlier one.
        nearest: a pixel goes to the instance whose centre of mass is nearest, and of several to the latest of those.

    Example:
        >>> parts = [np.array([[1, 1, 1, 0]]), np.array([[0, 0, 1, 1]])]
        >>> masks = Runs.concatenate([Runs.from_label_map(part) for part in parts])
        >>> divided(masks, np.array([1, 0])).to_label_map()
        array([[1, 1, 1, 2]], dtype=int32)
    """
    owner = segment_ids(masks.offsets)
    is_met = _met(masks.starts, masks.starts + masks.lengths)
    if not is_met.any():
        return masks
    rank = np.empty(len(masks), dtype=np.int64)
    rank[worst_first] = np.arange(len(masks))
    met = np.flatnonzero(is_met)
    met = met[np.argsort(rank[owner[met]], kind="stable")]
    shared = _Shared(masks, masks.starts[met], masks.lengths[met], owner[met])
    pieces = shared.by_nearest() if nearest else shared.by_order()
    alone = ~is_met
    starts, lengths, owners = (
        np.concatenate(parts)
        for parts in zip(
            (masks.starts[alone], masks.lengths[alone], owner[alone]), pieces, strict=True
        )
    )
    order = np.lexsort((starts, owners))
    offsets = offsets_from_lengths(np.bincount(owners, minlength=len(masks)))
    return Runs.from_sorted(starts[order], lengths[order], offsets, masks.height, masks.width)


def _met(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return which runs (R,) share a pixel with another one; those of one instance share none."""
    order = np.argsort(starts, kind="stable")
    first, reached = starts[order], np.maximum.accumulate(ends[order])
    meets_next = reached[:-1] > first[1:]
    found = np.zeros(len(starts), dtype=bool)
    found[order[1:]] = meets_next
    # An earlier run is met where it reaches beyond the beginning of the one after it.
    found[order[:-1]] |= ends[order[:-1]] > first[1:]
    return found


class _Shared:
    """Runs that meet, cut into pieces.

    Args:
        masks: all instances.
        starts: (R,) of the runs, those of the worst instance first.
        lengths: (R,) of them.
        owner: (R,) instance of each.
    """

    def __init__(
        self, masks: Runs, starts: np.ndarray, lengths: np.ndarray, owner: np.ndarray
    ) -> None:
        self._masks, self._owner = masks, owner
        ends = starts + lengths
        low, high = int(starts.min()), int(ends.max())
        cuts = np.arange(low, high, _LONGEST_PIECE_PX)
        self._bounds = np.unique(np.concatenate([starts, ends, cuts]))
        self._first = np.searchsorted(self._bounds, starts)
        self._behind = np.searchsorted(self._bounds, ends)
        self._num_pieces = len(self._bounds) - 1

    def by_order(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return starts, lengths and instances of what the latest instances get."""
        return self._of_pieces(self._latest(), np.arange(self._num_pieces))

    def by_nearest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the same of what the instances get that are nearest."""
        ends_and_begins = (
            np.bincount(edge, minlength=self._num_pieces + 1)
            for edge in (self._first, self._behind)
        )
        begins, ends = ends_and_begins
        depth = np.cumsum(begins - ends)[:-1]
        parts = [self._of_pieces(self._latest(), np.flatnonzero(depth == 1))]
        centres = _centres(self._masks)
        for pieces in self._groups(depth):
            parts.append(self._divided_pixels(pieces, centres))
        starts, lengths, owners = (np.concatenate(part) for part in zip(*parts, strict=True))
        return starts, lengths, owners

    def _latest(self) -> np.ndarray:
        """Return the last instance of each piece, -1 for none."""
        latest = np.full(self._num_pieces, -1, dtype=np.int64)
        num_pieces = self._behind - self._first
        for begin, end in _parts(num_pieces, _AT_ONCE):
            some = slice(begin, end)
            # numpy keeps the last that is assigned to an index
            latest[ragged_arange(self._first[some], num_pieces[some])] = np.repeat(
                self._owner[some], num_pieces[some]
            )
        return latest

    def _of_pieces(
        self, owner: np.ndarray, pieces: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pieces = pieces[owner[pieces] >= 0]
        lengths = np.diff(self._bounds)
        return self._bounds[pieces], lengths[pieces], owner[pieces]

    def _groups(self, depth: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the numbers of pieces that several masks hold, a few at a time."""
        held = np.flatnonzero(depth > 1)
        pixels = depth[held] * np.diff(self._bounds)[held]
        for begin, end in _parts(pixels, _AT_ONCE):
            yield held[begin:end]

    def _divided_pixels(
        self, pieces: np.ndarray, centres: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return starts, lengths and instances of what each nearest instance gets of some pieces, in rising order."""
        low, behind = int(pieces[0]), int(pieces[-1]) + 1
        runs = np.flatnonzero((self._first < behind) & (self._behind > low))  # in their order
        first = np.maximum(self._first[runs], low)
        num_pieces = np.minimum(self._behind[runs], behind) - first
        piece, owner = ragged_arange(first, num_pieces), np.repeat(self._owner[runs], num_pieces)
        number = np.full(behind - low, -1, dtype=np.int64)
        number[pieces - low] = np.arange(len(pieces))
        number = number[piece - low]
        piece, owner, number = (each[number >= 0] for each in (piece, owner, number))

        lengths = np.diff(self._bounds)
        offsets = offsets_from_lengths(lengths[pieces])
        place = ragged_arange(offsets[number], lengths[piece])
        owner = np.repeat(owner, lengths[piece])
        pixels = ragged_arange(self._bounds[pieces], lengths[pieces])
        column, row = np.divmod(pixels[place], self._masks.height)
        distance = (column - centres[0][owner]) ** 2 + (row - centres[1][owner]) ** 2
        least = np.full(len(pixels), np.inf)
        np.minimum.at(least, place, distance)
        is_nearest = distance == least[place]
        winner = np.empty(len(pixels), dtype=np.int64)
        winner[place[is_nearest]] = owner[is_nearest]

        goes_on = (np.diff(pixels) == 1) & (np.diff(winner) == 0)
        begins = np.flatnonzero(np.concatenate([[True], ~goes_on]))
        return pixels[begins], np.diff(begins, append=len(pixels)), winner[begins]


def _parts(sizes: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of parts that come to no more than ``most`` together, or are one."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield begin, end
        begin = end


def _centres(masks: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (N,) of the centres of mass in pixels."""
    runs = ColumnRuns.from_runs(masks)
    length = runs.bottom - runs.top
    areas = np.maximum(masks.areas, 1)
    x, y = (
        np.bincount(runs.owner, weights=middle * length, minlength=len(masks)) / areas
        for middle in (runs.column, (runs.top + runs.bottom - 1) / 2)
    )
    return x, y
