"""Rows of a csv that are cells: the size that they say their image has, and strings that were clipped."""

from __future__ import annotations

from cellseg_mmdet.annotations.csv_rows import parse_size_hw


def size_fault(written_hw: tuple[str, str], height: int, width: int) -> str | None:
    """Return what is wrong with a height and width as a row has them, for an image of this size; None if they agree."""
    if parse_size_hw(*written_hw) == (height, width):
        return None
    return (
        f"height {written_hw[0] or '(empty)'} and width {written_hw[1] or '(empty)'} differ from the image file's "
        f"{height} x {width}"
    )


def passes_end(text: str, num_pixels: int) -> bool:
    """Return whether a well-formed ``start length`` string reaches beyond the last pixel: whether it was clipped."""
    start, length = text.split()[-2:] if text.strip() else ("0", "0")
    return int(start) + int(length) > num_pixels + 1
