"""Run-length strings of the Kaggle competitions: ``start length`` pairs, 1-based, separated by white space.

The strings do not say whether pixels are numbered along rows (Sartorius) or along columns (2018 Data Science Bowl), so
callers always do. This module only deals with the numbers; ``Runs`` gives them their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cellseg_mmdet.errors import MaskError, quoted
from cellseg_mmdet.masks.ragged import offsets_from_lengths, segment_ids, segment_sums

_DIGITS_ONLY = re.compile(r"[0-9\s]*", re.ASCII)
_LARGEST = np.iinfo(np.int64).max
# Strings that are parsed together come to about this length: what is made of them is ten times as much.
_MAX_CHARS = 1 << 22


def parse_rle_string(
    text: str, num_pixels: int, *, clip: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return 0-based starts (R,) and lengths (R,), int64, of one string; both empty for an empty string.

    With ``clip``, what lies past pixel ``num_pixels`` is cut off instead of refused.

    Raises:
        MaskError: naming the first pair that is wrong and why: an odd count of numbers, something that is no
            integer, a start below 1, a length below 1, a run that passes pixel ``num_pixels``, or a run that begins
            before the previous one has ended (unsorted or overlapping runs).

    Example:
        >>> starts, lengths = parse_rle_string("1 3 10 2", 12)
        >>> starts.tolist(), lengths.tolist()
        ([0, 9], [3, 2])
        >>> parse_rle_string("1 3 10 5", 12)
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.MaskError: pair 2 (10 5): ends at pixel 14, past the end; the image has 12 pixels
    """
    starts, lengths, _ = parse_rle_strings([text], num_pixels, clip=clip, is_one=True)
    return starts, lengths


def parse_rle_strings(
    texts: Sequence[str], num_pixels: int, *, clip: bool = False, is_one: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parse the strings of all instances of an image, each as `parse_rle_string` does.

    Args:
        texts: N strings.
        num_pixels: of the image.
        clip: cut off what lies past the image.
        is_one: leave the index out of the error.

    Returns:
        0-based starts (R,), lengths (R,) and offsets (N + 1,), int64; instance ``i`` owns runs
        ``offsets[i]:offsets[i + 1]``.

    Raises:
        MaskError: as `parse_rle_string`, with the index of the instance in front.

    Example:
        >>> starts, lengths, offsets = parse_rle_strings(["1 3", "", "10 2"], 12)
        >>> starts.tolist(), lengths.tolist(), offsets.tolist()
        ([0, 9], [3, 2], [0, 1, 1, 2])
    """
    starts, lengths, offsets, faults = parse_each_rle_string(texts, num_pixels, clip=clip)
    if faults:
        index = min(faults)
        raise MaskError(faults[index], None if is_one else index)
    return starts, lengths, offsets


def parse_each_rle_string(
    texts: Sequence[str], num_pixels: int, *, clip: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, str]]:
    """Parse all strings at once; of those that are malformed the cause is returned, as `parse_rle_string` tells it.

    Returns:
        0-based starts (R,), lengths (R,) and offsets (N - F + 1,), int64, of the well-formed strings in their order;
        and the cause for each of the F others by its index.

    Example:
        >>> starts, lengths, offsets, faults = parse_each_rle_string(["1 3", "2", "10 2"], 12)
        >>> offsets.tolist(), faults
        ([0, 1, 2], {1: 'odd count of numbers (1): pair 1 has start 2 and no length'})
    """
    faults: dict[int, str] = {}
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    begin = 0
    while begin < len(texts):
        end, num_chars = begin, 0
        while end < len(texts) and num_chars < _MAX_CHARS:
            num_chars += len(texts[end])
            end += 1
        parts.append(_parse_together(texts[begin:end], begin, num_pixels, clip, faults))
        begin = end
    if len(parts) == 1:
        starts, lengths, num_runs = parts[0]
    else:
        nothing = np.zeros(0, np.int64)
        starts, lengths, num_runs = (
            np.concatenate([*columns, nothing])
            for columns in (zip(*parts, strict=True) if parts else ((), (), ()))
        )
    return starts, lengths, offsets_from_lengths(num_runs), faults


def _parse_together(
    texts: Sequence[str], first: int, num_pixels: int, clip: bool, faults: dict[int, str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts, lengths and number of runs of the well-formed strings; ``first`` is the index of the first."""
    joined = "\n".join(texts)
    kept: np.ndarray = np.arange(first, first + len(texts))
    if _DIGITS_ONLY.fullmatch(joined) is None:
        good = []
        for index, text in enumerate(texts):
            if _DIGITS_ONLY.fullmatch(text) is None:
                faults[first + index] = _fault_of_token(text)
            else:
                good.append(index)
        texts, kept = [texts[index] for index in good], kept[good]
        joined = "\n".join(texts)
    numbers, counts = _numbers_of(joined, texts)
    odd = counts % 2 == 1
    if odd.any():
        bounds = offsets_from_lengths(counts)
        for index in np.flatnonzero(odd).tolist():
            count = int(counts[index])
            faults[int(kept[index])] = (
                f"odd count of numbers ({count}): pair {count // 2 + 1} has start "
                f"{numbers[bounds[index + 1] - 1]} and no length"
            )
        numbers = numbers[np.repeat(~odd, counts)]
        kept, counts = kept[~odd], counts[~odd]

    starts, lengths, num_runs = numbers[0::2], numbers[1::2], counts // 2
    offsets = offsets_from_lengths(num_runs)
    ends = starts + np.minimum(lengths, _LARGEST - starts)  # no overflow for absurd numbers
    previous_end = np.zeros(len(ends), np.int64)
    previous_end[1:] = ends[:-1]
    previous_end[offsets[:-1][num_runs > 0]] = 0
    # Checked in this order because each check presumes the ones before it.
    past_end = ends > num_pixels + 1
    wrong = (starts < 1) | (lengths < 1) | (starts < previous_end)
    if not clip:
        wrong |= past_end
    if wrong.any():
        owner = segment_ids(offsets)
        wrong_runs = np.flatnonzero(wrong)
        malformed, at = np.unique(owner[wrong_runs], return_index=True)
        for index, run in zip(malformed.tolist(), wrong_runs[at].tolist(), strict=True):
            begin = int(offsets[index])
            faults[int(kept[index])] = _fault_of_pair(
                run - begin, starts[begin:], lengths[begin:], num_pixels
            )
        is_good = np.ones(len(kept), dtype=bool)
        is_good[malformed] = False
        chosen = is_good[owner]
        starts, lengths, past_end = starts[chosen], lengths[chosen], past_end[chosen]
        num_runs = num_runs[is_good]
    if past_end.any():
        inside = starts <= num_pixels
        num_runs = segment_sums(inside.astype(np.int64), offsets_from_lengths(num_runs))
        starts, lengths = starts[inside], np.minimum(lengths, num_pixels + 1 - starts)[inside]
    return starts - 1, lengths, num_runs


def _numbers_of(joined: str, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return all numbers of strings of digits and white space, joined by line breaks, and how many each has."""
    if not joined or joined.isspace():
        return np.zeros(0, np.int64), np.zeros(len(texts), np.int64)
    is_digit = np.frombuffer(joined.encode("ascii"), np.uint8) >= ord("0")  # above white space
    begins = is_digit.copy()
    begins[1:] &= ~is_digit[:-1]
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1) - 1
    counts = np.diff(np.searchsorted(np.flatnonzero(begins), ends), prepend=0)
    return np.fromstring(joined, dtype=np.int64, sep=" "), counts


def format_rle_strings(starts: np.ndarray, lengths: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Write each instance's runs (0-based starts) as a ``start length`` string, 1-based; the inverse of parsing.

    Example:
        >>> format_rle_strings(np.array([0, 9]), np.array([3, 2]), np.array([0, 1, 2]))
        ['1 3', '10 2']
    """
    numbers = np.empty(2 * len(starts), dtype=np.int64)
    numbers[0::2] = starts + 1
    numbers[1::2] = lengths
    words = [str(number) for number in numbers.tolist()]
    bounds = (2 * offsets).tolist()
    return [" ".join(words[begin:end]) for begin, end in pairwise(bounds)]


def _fault_of_token(text: str) -> str:
    for index, token in enumerate(text.split()):
        if not re.fullmatch(r"[0-9]+", token, re.ASCII):
            role = "length" if index % 2 else "start"
            kind = "negative" if re.fullmatch(r"-[0-9]+", token, re.ASCII) else "not an integer"
            return f"pair {index // 2 + 1}: {role} {quoted(token)} is {kind}; allowed are integers from 1"
    # White space beyond ASCII splits tokens that are digits themselves: read it as an error of the whole string.
    return f"characters that are neither digits nor ASCII white space in {text[:40]!r}"


def _fault_of_pair(pair: int, starts: np.ndarray, lengths: np.ndarray, num_pixels: int) -> str:
    start, length = int(starts[pair]), int(lengths[pair])
    where = f"pair {pair + 1} ({start} {length})"
    if start < 1:
        return f"{where}: start must be at least 1"
    if length < 1:
        return f"{where}: length must be at least 1"
    if start + length > num_pixels + 1:
        end = start + length - 1
        return f"{where}: ends at pixel {end}, past the end; the image has {num_pixels} pixels"
    before = f"{starts[pair - 1]} {lengths[pair - 1]}"
    fault = "unsorted" if start < starts[pair - 1] else "overlapping"
    return f"{where}: {fault}, it begins before pair {pair} ({before}) has ended"
