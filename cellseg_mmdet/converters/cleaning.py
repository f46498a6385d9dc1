"""Cleaning of annotations: named switches, all off unless asked for, every change counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs

# An annotation is called broken when the gaps along its rows that its outline encloses come to this share of its
# pixels.
# In Sartorius it is the astro cells whose thin branches were saved as an outline.
_BROKEN_GAIN = 0.05


@dataclass(frozen=True)
class Cleaning:
    """Which cleaning steps to apply, in this order.

    Attributes:
        clip: cut runs that pass the end of the image (an error otherwise).
        mend_broken: fill the gaps along rows of annotations whose branches were saved as an outline only.
        fill_holes: fill background that an instance encloses.
        largest_component: keep the largest 8-connected piece of an instance.
        min_area_px: drop instances with fewer pixels; 0 drops none.
        drop_empty: drop instances without a pixel (an error otherwise).
        drop_duplicates: drop instances whose pixels are exactly those of an earlier one of the same image.
    """

    clip: bool = False
    mend_broken: bool = False
    fill_holes: bool = False
    largest_component: bool = False
    min_area_px: int = 0
    drop_empty: bool = False
    drop_duplicates: bool = False

    @classmethod
    def from_switches(cls, switches: Sequence[str]) -> Cleaning:
        """Build from command-line words such as ``fill-holes`` and ``min-area=30``.

        Raises:
            UsageError: for an unknown switch, or a minimum area that is no positive integer.
        """
        chosen: dict[str, bool | int] = {}
        for switch in switches:
            name, has_value, value = switch.partition("=")
            if name == "min-area":
                if not value.isdecimal() or int(value) < 1:
                    raise UsageError(
                        f"--clean {switch!r}: write min-area=PIXELS with an integer from 1"
                    )
                chosen["min_area_px"] = int(value)
            elif name in CLEANING_SWITCHES and not has_value:
                chosen[name.replace("-", "_")] = True
            else:
                raise UsageError(
                    f"--clean {switch!r} is unknown; allowed are {', '.join(CLEANING_SWITCHES)}"
                )
        return cls(**chosen)  # type: ignore[arg-type]

    def active(self) -> dict[str, bool | int]:
        """Return the steps that are on, as they are recorded in the annotation file."""
        return {name: value for name, value in asdict(self).items() if value}


CLEANING_SWITCHES = (
    "clip",
    "mend-broken",
    "fill-holes",
    "largest-component",
    "min-area=PIXELS",
    "drop-empty",
    "drop-duplicates",
)


def clean_masks(masks: Runs, cleaning: Cleaning) -> tuple[Runs, np.ndarray, Counter[str]]:
    """Apply the steps that are on.

    Returns:
        The cleaned masks (M instances), which of the N given instances they are (M,) int64, and how many instances each
        step changed or dropped. (``clip`` happens where strings are parsed, and is counted there.)
    """
    counts: Counter[str] = Counter()
    for name, repair in _REPAIRS.items():
        if getattr(cleaning, name):
            masks, counts[name] = _repair_each(masks, repair)
    kept = np.arange(len(masks))
    for name, is_wanted in _FILTERS.items():
        if getattr(cleaning, name):
            wanted = is_wanted(masks, cleaning)
            counts[name] = int((~wanted).sum())
            masks, kept = masks[wanted], kept[wanted]
    return masks, kept, counts


def _repair_each(masks: Runs, repair: Callable[[np.ndarray], np.ndarray]) -> tuple[Runs, int]:
    """Apply ``repair`` to the bitmap of every instance inside its box, with a margin of one background pixel."""
    boxes = masks.boxes
    pixels, owner = masks.pixels()
    bounds = np.concatenate([[0], np.cumsum(masks.areas)])
    parts: list[np.ndarray] = []
    num_changed = 0
    for index in range(len(masks)):
        own = pixels[bounds[index] : bounds[index + 1]]
        if len(own):
            x1, y1, x2, y2 = boxes[index]
            bitmap = np.zeros(
                (x2 - x1 + 2, y2 - y1 + 2), dtype=np.uint8
            )  # transposed: pixels run down columns
            x, y = np.divmod(own, masks.height)
            bitmap[x - x1 + 1, y - y1 + 1] = 1
            repaired = repair(bitmap)
            if not np.array_equal(repaired, bitmap):
                num_changed += 1
                x, y = np.nonzero(repaired[1:-1, 1:-1])
                own = (x + x1) * masks.height + y + y1
        parts.append(own)
    owner = np.repeat(np.arange(len(masks)), [len(part) for part in parts])
    flat = np.concatenate([*parts, np.zeros(0, np.int64)])
    return Runs.from_pixels(flat, owner, len(masks), masks.height, masks.width), num_changed


def _fill_holes(bitmap: np.ndarray) -> np.ndarray:
    # Background is 4-connected, so that an 8-connected outline encloses it. The margin makes the outside one piece.
    _, pieces = cv2.connectedComponents(1 - bitmap, connectivity=4)
    return (pieces != pieces[0, 0]).astype(np.uint8)


def _keep_largest_component(bitmap: np.ndarray) -> np.ndarray:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
    if count <= 2:
        return bitmap
    return (pieces == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])).astype(np.uint8)


def _mend_outline(bitmap: np.ndarray) -> np.ndarray:
    # An image row is a column here: the bitmap is transposed.
    before = np.maximum.accumulate(bitmap, axis=0)
    after = np.maximum.accumulate(bitmap[::-1], axis=0)[::-1]
    gaps_in_rows = before & after & ~bitmap & 1
    # Closing first: the outlines of broken annotations have breaks of a pixel. The extra margin keeps it from joining
    # the mask to the border, beyond which OpenCV's erosion takes everything for foreground.
    closed = cv2.morphologyEx(np.pad(bitmap, 2), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    missing = _fill_holes(closed)[2:-2, 2:-2] & gaps_in_rows
    return bitmap | missing if missing.sum() >= _BROKEN_GAIN * bitmap.sum() else bitmap


def _is_first_of_its_pixels(masks: Runs) -> np.ndarray:
    seen: set[bytes] = set()
    first = np.ones(len(masks), dtype=bool)
    for index, rle in enumerate(masks.to_coco()):
        first[index] = rle["counts"] not in seen
        seen.add(rle["counts"])
    return first


_REPAIRS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mend_broken": _mend_outline,
    "fill_holes": _fill_holes,
    "largest_component": _keep_largest_component,
}
_FILTERS: dict[str, Callable[[Runs, Cleaning], np.ndarray]] = {
    "min_area_px": lambda masks, cleaning: masks.areas >= cleaning.min_area_px,
    "drop_empty": lambda masks, _: masks.areas > 0,
    "drop_duplicates": lambda masks, _: _is_first_of_its_pixels(masks),
}
