"""Rows of a csv that are cells: the size that they say their image has, and strings that were clipped."""

from __future__ import annotations

from cellseg_mmdet.annotations.csv_rows import parse_size_hw
from cellseg_mmdet.errors import shortened


def size_fault(written_hw: tuple[str, str], height: int, width: int) -> str | None:
    """Return what is wrong with a height and width as a row has them, for an image of this size; None if they agree."""
    if parse_size_hw(*written_hw) == (height, width):
        return None
    written = [shortened(side, 60) or "(empty)" for side in written_hw]
    return f"height {written[0]} and width {written[1]} differ from the image file's {height} x {width}"


def passes_end(text: str, num_pixels: int) -> bool:
    """Return whether a well-formed ``start length`` string reaches beyond the last pixel: whether it was clipped."""
    start, length = text.rsplit(None, 2)[-2:] if text.strip() else ("0", "0")
    return int(start) + int(length) > num_pixels + 1
