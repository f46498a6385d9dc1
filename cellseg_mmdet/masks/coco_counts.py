"""The compressed ``counts`` strings of COCO RLE, for all instances of an image at once.

The format (``rleToString`` of the COCO API's maskApi.c): alternating counts of background and foreground pixels in
column-major order; from the fourth count on the difference to the count two places before; each number as 5-bit groups,
least significant first, sign extended, bit 5 set while more follow, plus 48 to make it ASCII.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cellseg_mmdet.errors import MaskError, shown
from cellseg_mmdet.masks.ragged import offsets_from_lengths, segment_ids, segment_sums

_FIRST_CHAR, _LAST_CHAR = 48, 48 + 63
_MAX_GROUPS = 7  # 35 bits: a difference of two uint32 counts


def encode_counts(counts: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """Compress counts (C,) int64 of N instances, ``offsets`` (N + 1,), to one ASCII string per instance.

    Example:
        >>> encode_counts(np.array([2, 3, 1, 6]), np.array([0, 2, 4]))
        [b'23', b'16']
    """
    values = counts.copy()
    position = _position_in_segment(offsets)
    is_difference = np.flatnonzero(position > 2)
    values[is_difference] -= counts[is_difference - 2]

    num_groups = np.ones(len(values), dtype=np.int64)
    for bits in range(4, 5 * (_MAX_GROUPS - 1), 5):
        num_groups += (values >= 1 << bits) | (values < -(1 << bits))
    ends = np.cumsum(num_groups)
    chars = np.empty(ends[-1] if len(ends) else 0, dtype=np.uint8)
    char_begin = ends - num_groups
    for group in range(int(num_groups.max(initial=0))):
        has_group = np.flatnonzero(num_groups > group)
        bits5 = (values[has_group] >> (5 * group)) & 0x1F
        more = np.where(num_groups[has_group] > group + 1, 0x20, 0)
        chars[char_begin[has_group] + group] = (bits5 | more) + _FIRST_CHAR

    text = chars.tobytes()
    bounds = np.concatenate([[0], ends])[offsets].tolist()
    return [text[begin:end] for begin, end in pairwise(bounds)]


def decode_counts(strings: Sequence[bytes | str]) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (C,) int64 and offsets (N + 1,) of N compressed strings; the inverse of `encode_counts`.

    Raises:
        MaskError: for a string with a character outside the alphabet, one that is cut off in the middle of a number,
            or one with a negative count; the message names the instance.

    Example:
        >>> counts, offsets = decode_counts([b'23', b'16'])
        >>> counts.tolist(), offsets.tolist()
        ([2, 3, 1, 6], [0, 2, 4])
    """
    encoded = _as_bytes(strings)
    chars = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.int64)
    char_offsets = offsets_from_lengths(np.array([len(text) for text in encoded], dtype=np.int64))
    _check_alphabet(chars, char_offsets)

    groups = chars - _FIRST_CHAR
    is_last = groups < 0x20
    nonempty = np.flatnonzero(np.diff(char_offsets))
    cut_off = nonempty[~is_last[char_offsets[nonempty + 1] - 1]]
    if len(cut_off):
        raise MaskError(
            "the RLE counts string is cut off in the middle of a number", int(cut_off[0])
        )

    value_end = np.flatnonzero(is_last) + 1
    value_begin = np.concatenate([[0], value_end[:-1]]) if len(value_end) else value_end
    num_groups = value_end - value_begin
    too_long = np.flatnonzero(num_groups > _MAX_GROUPS)
    if len(too_long):
        instance = np.searchsorted(char_offsets, value_begin[too_long[0]], side="right") - 1
        raise MaskError(
            f"a number in the RLE counts string has more than {_MAX_GROUPS} digits", int(instance)
        )
    shift = 5 * (np.arange(len(groups)) - np.repeat(value_begin, num_groups))
    values = segment_sums((groups & 0x1F) << shift, np.concatenate([[0], value_end]))
    negative = (groups[value_end - 1] & 0x10) > 0
    values[negative] -= 1 << (5 * num_groups[negative])

    offsets = np.searchsorted(value_end, char_offsets, side="right")
    counts = _undo_differences(values, offsets)
    if (counts < 0).any():
        instance = segment_ids(offsets)[np.argmax(counts < 0)]
        raise MaskError("negative count in the RLE counts string", int(instance))
    return counts, offsets


def plain_counts(counts: Any) -> np.ndarray:
    """Return the counts (C,) int64 of an RLE that lists them.

    Raises:
        MaskError: they are no list of whole numbers.

    Example:
        >>> plain_counts([2, 3, 1])
        array([2, 3, 1])
    """
    try:
        found = np.asarray(counts) if isinstance(counts, list | tuple | np.ndarray) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        found = None
    if found is not None and found.ndim == 1 and found.dtype.kind in "iuf":
        # Beyond 2 ** 53 floats are no counts any more, and NaN is not below it.
        if found.dtype.kind == "i" or not len(found):
            return found.astype(np.int64)
        if (np.abs(found) < 2**53).all() and (found == np.floor(found)).all():
            return found.astype(np.int64)
    raise MaskError(f"RLE counts are a text or a list of whole numbers; got {shown(counts)}")


def _as_bytes(strings: Sequence[bytes | str]) -> list[bytes]:
    encoded = []
    for index, text in enumerate(strings):
        try:
            encoded.append(text.encode("ascii") if isinstance(text, str) else text)
        except UnicodeEncodeError as error:
            raise MaskError(
                f"character {text[error.start]!r} at {error.start} is not of an RLE string", index
            ) from None
    return encoded


def _position_in_segment(offsets: np.ndarray) -> np.ndarray:
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def _undo_differences(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum up every second value of a segment; the first value of a segment stands alone."""
    counts = values.copy()
    position = _position_in_segment(offsets)
    owner = segment_ids(offsets)
    for chain in (
        np.flatnonzero(position % 2 == 1),
        np.flatnonzero((position % 2 == 0) & (position > 0)),
    ):
        totals = np.cumsum(values[chain])
        first_of_owner = np.searchsorted(owner[chain], owner[chain], side="left")
        counts[chain] = totals - np.concatenate([[0], totals])[first_of_owner]
    return counts


def _check_alphabet(chars: np.ndarray, char_offsets: np.ndarray) -> None:
    outside = np.flatnonzero((chars < _FIRST_CHAR) | (chars > _LAST_CHAR))
    if len(outside):
        instance = np.searchsorted(char_offsets, outside[0], side="right") - 1
        at = outside[0] - char_offsets[instance]
        raise MaskError(
            f"character {chr(chars[outside[0]])!r} at {at} is not of an RLE string", int(instance)
        )


def check_rle(rle: Any, height: int, width: int, index: int) -> None:
    """Raise a MaskError unless an RLE is a dict of counts and the size of its image."""
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise MaskError(f"an RLE has 'size' and 'counts'; got {shown(rle)}", index)
    size = rle["size"]
    try:
        found = tuple(size)
        fits = bool(found == (height, width))
    except (TypeError, ValueError, RuntimeError):  # torch's, of a tensor that is compared
        raise MaskError(f"RLE size is [height, width]; got {shown(size)}", index) from None
    if not fits:
        swapped = found == (width, height)
        hint = ": height and width are exchanged" if swapped else ""
        raise MaskError(
            f"RLE size {shown(list(found)).removesuffix(' (list)')} differs from [{height}, {width}]{hint}",
            index,
        )


def counts_of(counts: Any, index: int) -> np.ndarray:
    """Return the counts of an RLE, of whichever of COCO's forms; a MaskError names the instance."""
    try:
        if isinstance(counts, bytes | str):
            return decode_counts([counts])[0]
        return plain_counts(counts)
    except MaskError as error:
        raise MaskError(error.cause, index) from None
