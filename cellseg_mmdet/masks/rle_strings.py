"""Run-length strings of the Kaggle competitions: ``start length`` pairs, 1-based, separated by white space.

The strings do not say whether pixels are numbered along rows (Sartorius) or along columns (2018 Data Science Bowl), so
callers always do. This module only deals with the numbers; ``Runs`` gives them their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks.ragged import offsets_from_lengths

_DIGITS_ONLY = re.compile(r"[0-9\s]*", re.ASCII)
_LARGEST = np.iinfo(np.int64).max


def parse_rle_string(
    text: str, num_pixels: int, *, clip: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return 0-based starts (R,) and lengths (R,), int64, of one string; both empty for an empty string.

    With ``clip``, what lies past pixel ``num_pixels`` is cut off instead of refused.

    Raises:
        MaskError: naming the first pair that is wrong and why: an odd count of numbers, something that is no
            integer, a start below 1, a length below 1, a run that passes pixel ``num_pixels``, or a run that begins
            before the previous one has ended (unsorted or overlapping runs).
    """
    if _DIGITS_ONLY.fullmatch(text) is None:
        _raise_for_token(text)
    numbers = (
        np.fromstring(text, dtype=np.int64, sep=" ")
        if text and not text.isspace()
        else np.zeros(0, np.int64)
    )
    if len(numbers) % 2:
        raise MaskError(
            f"odd count of numbers ({len(numbers)}): pair {len(numbers) // 2 + 1} has start {numbers[-1]} and no length"
        )
    starts, lengths = numbers[0::2], numbers[1::2]
    ends = starts + np.minimum(lengths, _LARGEST - starts)  # no overflow for absurd numbers
    previous_end = np.concatenate([[0], ends[:-1]])
    # Checked in this order because each check presumes the ones before it.
    past_end = ends > num_pixels + 1
    wrong = (starts < 1) | (lengths < 1) | (starts < previous_end)
    if not clip:
        wrong |= past_end
    if wrong.any():
        _raise_for_pair(int(np.argmax(wrong)), starts, lengths, num_pixels)
    if past_end.any():
        inside = starts <= num_pixels
        starts, lengths = starts[inside], np.minimum(lengths, num_pixels + 1 - starts)[inside]
    return starts - 1, lengths


def parse_rle_strings(
    texts: Sequence[str], num_pixels: int, *, clip: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parse the strings of all instances of an image, each as `parse_rle_string` does.

    Returns:
        0-based starts (R,), lengths (R,) and offsets (N + 1,), int64; instance ``i`` owns runs
        ``offsets[i]:offsets[i + 1]``.

    Raises:
        MaskError: as `parse_rle_string`, with the index of the instance in front.
    """
    starts: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    for index, text in enumerate(texts):
        try:
            run_starts, run_lengths = parse_rle_string(text, num_pixels, clip=clip)
        except MaskError as error:
            raise MaskError(error.cause, index) from None
        starts.append(run_starts)
        lengths.append(run_lengths)
    empty = [np.zeros(0, np.int64)]
    offsets = offsets_from_lengths(
        np.array([len(run_starts) for run_starts in starts], dtype=np.int64)
    )
    return np.concatenate(starts or empty), np.concatenate(lengths or empty), offsets


def format_rle_strings(starts: np.ndarray, lengths: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Write each instance's runs (0-based starts) as a ``start length`` string, 1-based; the inverse of parsing."""
    numbers = np.empty(2 * len(starts), dtype=np.int64)
    numbers[0::2] = starts + 1
    numbers[1::2] = lengths
    words = [str(number) for number in numbers.tolist()]
    bounds = (2 * offsets).tolist()
    return [" ".join(words[begin:end]) for begin, end in pairwise(bounds)]


def _raise_for_token(text: str) -> None:
    for index, token in enumerate(text.split()):
        if not re.fullmatch(r"[0-9]+", token, re.ASCII):
            role = "length" if index % 2 else "start"
            kind = "negative" if re.fullmatch(r"-[0-9]+", token, re.ASCII) else "not an integer"
            raise MaskError(
                f"pair {index // 2 + 1}: {role} {token!r} is {kind}; allowed are integers from 1"
            )
    # White space beyond ASCII splits tokens that are digits themselves: read it as an error of the whole string.
    raise MaskError(f"characters that are neither digits nor ASCII white space in {text[:40]!r}")


def _raise_for_pair(pair: int, starts: np.ndarray, lengths: np.ndarray, num_pixels: int) -> None:
    start, length = int(starts[pair]), int(lengths[pair])
    where = f"pair {pair + 1} ({start} {length})"
    if start < 1:
        raise MaskError(f"{where}: start must be at least 1")
    if length < 1:
        raise MaskError(f"{where}: length must be at least 1")
    if start + length > num_pixels + 1:
        raise MaskError(
            f"{where}: ends at pixel {start + length - 1}, past the end; the image has {num_pixels} pixels"
        )
    before = f"{starts[pair - 1]} {lengths[pair - 1]}"
    fault = "unsorted" if start < starts[pair - 1] else "overlapping"
    raise MaskError(f"{where}: {fault}, it begins before pair {pair} ({before}) has ended")
