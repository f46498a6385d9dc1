"""Annotations that somebody should look at: broken, empty, in pieces, with holes, twice, or over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg_mmdet.converters.cleaning import Cleaning, clean_masks
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.shared import overlaps
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.structures import ImageRecord

# Kind -> what it means. All but the overlaps are what the converters' cleaning would change.
KINDS = {
    "empty": "no pixel at all",
    "broken": "an outline whose inside was not filled (--clean mend-broken)",
    "pieces": "more than one 8-connected piece (--clean largest-component)",
    "holes": "background that the cell encloses (--clean fill-holes)",
    "duplicate": "exactly the pixels of an earlier cell (--clean drop-duplicates)",
    "overlap": "shares pixels with another cell",
}


@dataclass(frozen=True)
class Oddity:
    """One cell that is odd in one way.

    Attributes:
        image: index of its record.
        cell: index of the cell in the record.
        kind: one of `KINDS`.
        share: how odd, in [0, 1]: pixels that are too many, or missing, or shared, as a share of the cell's; of an
            overlap of the smaller cell's.
        detail: what was found.
    """

    image: int
    cell: int
    kind: str
    share: float
    detail: str


def find_oddities(records: Sequence[ImageRecord]) -> list[Oddity]:
    """Return all oddities, image by image; an overlap once, at the smaller of the two cells."""
    per_image = parallel_map(
        _of_masks, [record.masks for record in records], description="checking"
    )
    return [
        Oddity(image, *oddity) for image, oddities in enumerate(per_image) for oddity in oddities
    ]


def describe(oddity: Oddity, records: Sequence[ImageRecord]) -> str:
    """Return one line that says where the oddity is, and what."""
    name = Path(records[oddity.image].file_name).name
    return f"{name}, cell {oddity.cell}: {oddity.detail}"


def _of_masks(masks: Runs) -> list[tuple[int, str, float, str]]:
    """Return cell, kind, share and detail of each oddity of one image."""
    areas = np.maximum(masks.areas, 1)
    found = [(cell, "empty", 1.0, "no pixel") for cell in np.flatnonzero(masks.areas == 0).tolist()]
    for kind, cleaning, text in (
        ("broken", Cleaning(mend_broken=True), "{} pixels are missing between its outlines"),
        (
            "pieces",
            Cleaning(largest_component=True),
            "{} of its pixels are apart from the largest piece",
        ),
        ("holes", Cleaning(fill_holes=True), "{} pixels that it encloses are not its own"),
    ):
        change = np.abs(clean_masks(masks, cleaning)[0].areas - masks.areas)
        for cell in np.flatnonzero(change).tolist():
            share = min(1.0, change[cell] / areas[cell])
            found.append((cell, kind, share, text.format(change[cell])))
    _, kept, _ = clean_masks(masks, Cleaning(drop_duplicates=True))
    twice = np.setdiff1d(np.flatnonzero(masks.areas > 0), kept)
    found += [(cell, "duplicate", 1.0, "annotated twice") for cell in twice.tolist()]
    for first, second, area, _ in overlaps(masks):
        smaller, larger = sorted((first, second), key=lambda cell: areas[cell])
        text = f"shares {area} of its {areas[smaller]} pixels with cell {larger}"
        if smaller not in twice and larger not in twice:
            found.append((smaller, "overlap", area / areas[smaller], text))
    return found
