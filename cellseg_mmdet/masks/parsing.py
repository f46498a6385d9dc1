"""Encoded masks of which some may be malformed: the good ones are read, each other one is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks.runs import PixelOrder, Runs

Item = TypeVar("Item")


def parse_masks(
    parse: Callable[[Sequence[Item]], Runs], items: Sequence[Item]
) -> tuple[Runs, dict[int, str]]:
    """Parse all items of an image at once; where that fails, one by one, to name every malformed one.

    Args:
        parse: makes one mask of each item, or raises a MaskError.
        items: strings, segmentations, or whatever ``parse`` takes.

    Returns:
        The masks of the items that can be parsed, and the cause for each other one by its index.
    """
    try:
        return parse(items), {}
    except MaskError:
        parts, faults = [parse([])], {}
    for index, item in enumerate(items):
        try:
            parts.append(parse([item]))
        except MaskError as error:
            faults[index] = error.cause
    return Runs.concatenate(parts), faults


def parse_strings(
    texts: Sequence[str], height: int, width: int, *, order: PixelOrder, clip: bool = False
) -> tuple[Runs, dict[int, str]]:
    """Return the masks of the well-formed ``start length`` strings, and the cause for each other one by its index.

    Example:
        >>> masks, faults = parse_strings(["1 2", "0 1"], 4, 4, order="row")
        >>> masks.areas.tolist(), faults
        ([2], {1: 'pair 1 (0 1): start must be at least 1'})
    """
    return Runs.from_each_string(texts, height, width, order=order, clip=clip)
