"""Binary masks of several sources by weighted vote, on runs: no pixel is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.ragged import offsets_from_lengths, segment_ids

# Shares of one half that rounding has moved are still one half.
_HALF = 0.5 - 1e-6


def vote_masks(masks: Sequence[Runs], members: np.ndarray, weights: np.ndarray) -> Runs:
    """Return K masks: a pixel belongs to one if members of at least half of the weight have it.

    Args:
        masks: of each of S sources, of one image size.
        members: (K, S) int, which one of a source's contributes, -1 where none; at least one each.
        weights: (K, S) positive weight of each member, 0 where there is none.

    Raises:
        ValueError: if sizes differ.
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    instance, source = np.nonzero(members >= 0)
    first_of_source = offsets_from_lengths(np.array([len(runs) for runs in masks]))
    runs = Runs.concatenate(masks)[first_of_source[source] + members[instance, source]]

    # Going through an instance's pixels, a member's share comes with each of its runs and goes with its end.
    member = segment_ids(runs.offsets)
    stride = runs.height * runs.width + 1
    begins = instance[member] * stride + runs.starts
    share = shares[instance, source][member]
    at = np.concatenate([begins, begins + runs.lengths])
    order = np.argsort(at, kind="stable")
    at = at[order]
    level = np.cumsum(np.concatenate([share, -share])[order])

    is_last = np.diff(at, append=-1) != 0  # of all that come and go in one place
    at, inside = at[is_last], level[is_last] >= _HALF
    lengths = np.diff(at, append=0)[inside]
    owner, starts = np.divmod(at[inside], stride)
    offsets = offsets_from_lengths(np.bincount(owner, minlength=len(members)))
    return Runs.from_sorted(starts, lengths, offsets, runs.height, runs.width)
