"""Which instances of one image share pixels, and how many, without looking at all N x N pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from cellseg_mmdet.masks.ragged import ragged_arange, segment_ids
from cellseg_mmdet.masks.runs import Runs

# Pairs of intervals to look at together, some 25 MB. Cells of an image come to less; masks of half an image do not.
_MAX_PAIRS = 500_000
# Of lists that are read: pairs of runs that are looked at one by one, and pairs of instances that are told.
_MAX_EXACT_PAIRS, _MAX_TOLD = 4_000_000, 100_000


class Shared(NamedTuple):
    """What P pairs of instances share.

    Attributes:
        first: (P,) int, ascending.
        second: (P,) int, greater than ``first``.
        area: (P,) float, pixels that both have, greater than 0.
    """

    first: np.ndarray
    second: np.ndarray
    area: np.ndarray

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """Yield first, second and area of each pair, by first, then by second."""
        order = np.lexsort((self.second, self.first))
        yield from zip(
            self.first[order].tolist(),
            self.second[order].tolist(),
            self.area[order].astype(np.int64).tolist(),
            strict=True,
        )


class Overlap(NamedTuple):
    """An instance that shares pixels with one before it, to be told.

    Attributes:
        earlier: index of the one before.
        later: index of the instance.
        area: pixels that both have.
        more: with how many others before it the instance shares pixels that are not told one by one; None where they
            are too many to count: ``area`` is then the least that both have.
    """

    earlier: int
    later: int
    area: int
    more: int | None

    def told(self, name: str) -> str:
        """Return it in words; ``name`` is that of the one before.

        Example:
            >>> Overlap(0, 9, 20, 0).told("row 2"), Overlap(0, 9, 1, 8).told("row 2")
            ('shares 20 pixels with row 2', 'shares 1 pixel with row 2, and pixels with 8 others before it')
        """
        if self.more is None:
            return (
                f"shares {in_pixels(self.area)} or more with {name}, and maybe pixels with others"
            )
        more = f", and pixels with {self.more} other{'s' * (self.more > 1)} before it"
        return f"shares {in_pixels(self.area)} with {name}{more if self.more else ''}"


def overlaps(masks: Runs) -> Iterator[Overlap]:
    """Yield the pairs that share pixels, as long as they can be read: 10,000 masks in one place are 50 million pairs.

    Where they are more than 100,000, one of each later instance, with the number of the others.

    Example:
        >>> one = Runs.from_label_map(np.array([[1, 1, 2]]))
        >>> other = Runs.from_label_map(np.array([[0, 1, 1]]))
        >>> [overlap.told(str(overlap.earlier)) for overlap in overlaps(Runs.concatenate([one, other]))]
        ['shares 1 pixel with 0', 'shares 1 pixel with 1']
    """
    ends = masks.starts + masks.lengths
    order = np.argsort(masks.starts, kind="stable")
    begins = masks.starts[order]
    behind = np.searchsorted(begins, ends[order], side="left")
    if (behind - np.arange(1, len(order) + 1)).sum() > _MAX_EXACT_PAIRS:
        shared, more = _one_each(masks, order, ends[order]), None
    else:
        shared = shared_by_masks(masks)
        if len(shared.first) <= _MAX_TOLD:
            yield from (Overlap(*pair, 0) for pair in shared.pairs())
            return
        more = np.bincount(shared.second, minlength=len(masks)) - 1
    by_later = np.lexsort((shared.first, shared.second))
    _, firsts = np.unique(shared.second[by_later], return_index=True)
    for earlier, later, area in Shared(*(part[by_later[firsts]] for part in shared)).pairs():
        yield Overlap(earlier, later, area, None if more is None else int(more[later]))


def _one_each(masks: Runs, order: np.ndarray, ends: np.ndarray) -> Shared:
    """Return for each run that meets one that begins before it one such: the one that goes furthest.

    Args:
        masks: of the runs.
        order: of the runs, by where they begin.
        ends: of the runs, in this order.
    """
    furthest = np.maximum.accumulate(ends)
    which = np.maximum.accumulate(np.where(ends == furthest, np.arange(len(ends)), 0))
    meets = np.flatnonzero(masks.starts[order][1:] < furthest[:-1]) + 1
    owner = segment_ids(masks.offsets)[order]
    area = np.minimum(ends[meets], furthest[meets - 1]) - masks.starts[order][meets]
    return _summed([Shared(owner[which[meets - 1]], owner[meets], area)], len(masks))


def in_pixels(area: int) -> str:
    """Return an area in words: '1 pixel', '2 pixels'.

    Example:
        >>> in_pixels(1), in_pixels(20)
        ('1 pixel', '20 pixels')
    """
    return f"{area} pixel{'s' * (area != 1)}"


def shared_by_masks(masks: Runs) -> Shared:
    """Return all pairs of instances that share a pixel, each once.

    Example:
        >>> one = Runs.from_label_map(np.array([[1, 1, 2]]))
        >>> other = Runs.from_label_map(np.array([[0, 1, 1]]))
        >>> list(shared_by_masks(Runs.concatenate([one, other])).pairs())
        [(0, 2, 1), (1, 2, 1)]
    """
    owner, ends = segment_ids(masks.offsets), masks.starts + masks.lengths

    def parts() -> Iterator[Shared]:
        for one, other in overlapping_intervals(masks.starts, ends):
            # Sorted by start: of two runs that meet, the other begins later.
            area = np.minimum(ends[one], ends[other]) - masks.starts[other]
            yield Shared(owner[one], owner[other], area)

    return _summed(parts(), len(masks))


def shared_by_boxes(boxes: np.ndarray) -> Shared:
    """Return all pairs of boxes (N, 4) xyxy that share an area, each once.

    Example:
        >>> list(shared_by_boxes(np.array([[0, 0, 4, 4], [2, 2, 6, 6], [8, 8, 9, 9]])).pairs())
        [(0, 1, 4)]
    """
    x1, y1, x2, y2 = (boxes[:, side].astype(np.float64) for side in range(4))

    def parts() -> Iterator[Shared]:
        for one, other in overlapping_intervals(x1, x2):
            width = np.minimum(x2[one], x2[other]) - x1[other]
            height = np.minimum(y2[one], y2[other]) - np.maximum(y1[one], y1[other])
            meet = height > 0
            yield Shared(one[meet], other[meet], (width * height)[meet])

    return _summed(parts(), len(boxes))


def overlapping_intervals(
    starts: np.ndarray, ends: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of overlapping intervals ``[start, end)`` once, as two index arrays, some millions at a time.

    The second of a pair never starts before the first. Intervals without a length overlap nothing.
    """
    order = np.argsort(starts, kind="stable")
    order = order[ends[order] > starts[order]]
    # Those that overlap an interval and start later are the ones right behind it.
    behind = np.arange(1, len(order) + 1)
    num_behind = np.searchsorted(starts[order], ends[order], side="left") - behind
    batch = np.cumsum(num_behind) // _MAX_PAIRS
    bounds = np.flatnonzero(np.diff(batch, prepend=-1, append=np.iinfo(np.int64).max))
    for begin, stop in pairwise(bounds):
        chosen = slice(begin, stop)
        one = np.repeat(order[chosen], num_behind[chosen])
        yield one, order[ragged_arange(behind[chosen], num_behind[chosen])]


def _summed(parts: Iterable[Shared], num_instances: int) -> Shared:
    """Add up the areas of each pair, whichever of the two comes first."""
    total = csr_matrix((num_instances, num_instances))
    for one, other, area in parts:
        pair = np.minimum(one, other), np.maximum(one, other)
        # The conversion from coordinates adds up those that are equal, in linear time.
        total = total + csr_matrix((area, pair), shape=total.shape)
    total = total.tocoo()
    return Shared(total.row, total.col, total.data)
