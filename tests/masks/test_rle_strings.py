from __future__ import annotations

import pytest

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks.rle_strings import parse_rle_string, parse_rle_strings

NUM_PIXELS = 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 5", r"odd count of numbers \(3\): pair 2 has start 5 and no length"),
        ("1 2 x 1", "pair 2: start 'x' is not an integer"),
        ("1 2 5 1.5", "pair 2: length '1.5' is not an integer"),
        ("1 2 5 -3", "pair 2: length '-3' is negative"),
        ("0 2", r"pair 1 \(0 2\): start must be at least 1"),
        ("1 2 5 0", r"pair 2 \(5 0\): length must be at least 1"),
        ("19 3", r"pair 1 \(19 3\): ends at pixel 21, past the end; the image has 20 pixels"),
        ("1 99999999999999999999999", "past the end"),
        ("1 3 3 1", r"pair 2 \(3 1\): overlapping, .* pair 1 \(1 3\)"),
        ("5 2 1 2", r"pair 2 \(1 2\): unsorted, .* pair 1 \(5 2\)"),
        ("1 2\u00a05 1", "neither digits nor ASCII white space"),
    ],
)
def test_malformed_strings_name_pair_and_cause(text: str, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        parse_rle_string(text, NUM_PIXELS)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_string_is_an_empty_mask(text: str) -> None:
    starts, lengths = parse_rle_string(text, NUM_PIXELS)
    assert len(starts) == len(lengths) == 0


def test_white_space_and_touching_runs_are_fine() -> None:
    starts, lengths = parse_rle_string(" 1  2\t3 1 20 1\n", NUM_PIXELS)
    assert (starts.tolist(), lengths.tolist()) == ([0, 2, 19], [2, 1, 1])


def test_the_instance_is_named() -> None:
    with pytest.raises(MaskError, match="instance 2: pair 1"):
        parse_rle_strings(["1 1", "", "0 1"], NUM_PIXELS)


@pytest.mark.parametrize(
    ("text", "starts", "lengths"),
    [("18 9", [17], [3]), ("3 1 21 4", [2], [1]), ("30 2", [], []), ("3 1", [2], [1])],
)
def test_clipping(text: str, starts: list[int], lengths: list[int]) -> None:
    found = parse_rle_string(text, NUM_PIXELS, clip=True)
    assert [part.tolist() for part in found] == [starts, lengths]
