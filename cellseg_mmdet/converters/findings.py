"""What is odd about annotations that can be used all the same: named one by one, so that somebody can look."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cellseg_mmdet.fileio import write_records_csv
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.masks.shared import in_pixels, shared_by_masks


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
    """Return each pair of masks that share pixels, at the later one; ``sources`` names each of the N masks."""
    return [
        Finding(
            sources[later],
            image_id,
            "overlap",
            f"shares {in_pixels(area)} with {sources[earlier]}",
        )
        for earlier, later, area in shared_by_masks(masks).pairs()
    ]


def find_pieces(masks: Runs, sources: Sequence[str], image_id: str) -> list[Finding]:
    """Return the masks of more than one 8-connected piece; ``sources`` names each of the N masks."""
    rois = RoIMasks.from_runs(masks)
    found = []
    for index, source in enumerate(sources):
        bitmap = np.ascontiguousarray(rois.bitmap(index))
        if not bitmap.size:
            continue
        count, _, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
        if count > 2:  # the background is the first
            areas = sorted(stats[1:, cv2.CC_STAT_AREA].tolist(), reverse=True)
            detail = f"{len(areas)} pieces of {', '.join(map(str, areas))} pixels"
            found.append(Finding(source, image_id, "several pieces", detail))
    return found


def write_findings(path: str | os.PathLike[str], findings: Sequence[Finding]) -> None:
    """Write every finding to a csv file (header only when there is none)."""
    write_records_csv(path, Finding, findings)
