"""What is odd about annotations that can be used all the same: named one by one, so that somebody can look."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cellseg_mmdet.fileio import write_records_csv
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.masks.ragged import segment_sums
from cellseg_mmdet.masks.shared import overlaps


@dataclass(frozen=True)
class Finding:
    """One oddity.

    Attributes:
        source: file, or file and row, that it is about.
        image_id: image it belongs to.
        kind: what kind of thing it is, in a word or two; they are counted by it.
        detail: what was found.
    """

    source: str
    image_id: str
    kind: str
    detail: str


def find_overlaps(masks: Runs, sources: Sequence[str], image_id: str) -> list[Finding]:
    """Return the `overlaps` of masks, at the later one of each pair; ``sources`` names each of the N masks."""
    return [
        Finding(sources[overlap.later], image_id, "overlap", overlap.told(sources[overlap.earlier]))
        for overlap in overlaps(masks)
    ]


def find_pieces(masks: Runs, sources: Sequence[str], image_id: str) -> list[Finding]:
    """Return the masks of more than one 8-connected piece; ``sources`` names each of the N masks."""
    unsure = np.flatnonzero(~_surely_whole(masks))
    rois = RoIMasks.from_runs(masks[unsure])
    found = []
    for index, number in enumerate(unsure.tolist()):
        bitmap = np.ascontiguousarray(rois.bitmap(index))
        if not bitmap.size:
            continue
        count, _, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
        if count > 2:  # the background is the first
            areas = sorted(stats[1:, cv2.CC_STAT_AREA].tolist(), reverse=True)
            detail = f"{len(areas)} pieces of {', '.join(map(str, areas))} pixels"
            found.append(Finding(sources[number], image_id, "several pieces", detail))
    return found


def _surely_whole(masks: Runs) -> np.ndarray:
    """Return for each mask whether each run lies in the column behind that of the one before, and touches it."""
    height = max(masks.height, 1)
    column, top = np.divmod(masks.starts, height)
    bottom = top + masks.lengths
    joins = np.zeros(len(column), dtype=bool)
    joins[1:] = (np.diff(column) == 1) & (top[1:] <= bottom[:-1]) & (bottom[1:] >= top[:-1])
    first = masks.offsets[:-1][np.diff(masks.offsets) > 0]
    joins[first] = True
    joins &= bottom <= height  # a run that goes on at the top of the next column is in two places
    return segment_sums((~joins).astype(np.int64), masks.offsets) == 0


def write_findings(path: str | os.PathLike[str], findings: Sequence[Finding]) -> None:
    """Write every finding to a csv file (header only when there is none)."""
    write_records_csv(path, Finding, findings)
