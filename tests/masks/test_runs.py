"""Every codec against pycocotools, on scenes that hypothesis draws: empty, full, one pixel, 1 x N and N x 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks import Runs

sides = st.integers(1, 12)
orders = st.sampled_from(["row", "column"])


@st.composite
def bitmaps(draw: st.DrawFn, *, max_instances: int = 5) -> np.ndarray:
    """(N, H, W) bool: overlapping masks, some of them empty or full."""
    shape = (draw(st.integers(0, max_instances)), draw(sides), draw(sides))
    masks = draw(hnp.arrays(bool, shape))
    for mask in masks:
        filled = draw(st.sampled_from(["as drawn", "empty", "full"]))
        mask[...] = mask if filled == "as drawn" else filled == "full"
    return masks


def encode(masks: np.ndarray) -> list[dict]:
    return [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]


def runs_of(masks: np.ndarray) -> Runs:
    return Runs.from_coco(encode(masks), *masks.shape[1:])


def to_bitmaps(runs: Runs) -> np.ndarray:
    decoded = [coco_mask.decode(rle) for rle in runs.to_coco()]
    return np.array(decoded, dtype=bool).reshape(len(runs), runs.height, runs.width)


@given(bitmaps())
def test_coco_rle_is_that_of_pycocotools(masks: np.ndarray) -> None:
    expected = encode(masks)
    runs = runs_of(masks)
    assert runs.to_coco() == [
        {"size": list(rle["size"]), "counts": rle["counts"]} for rle in expected
    ]
    assert Runs.from_coco(runs.to_coco(text=True), runs.height, runs.width) == runs


@given(bitmaps())
def test_uncompressed_counts_are_read(masks: np.ndarray) -> None:
    rles = []
    for mask in masks:
        flat = np.concatenate([[False], mask.ravel(order="F")])
        counts = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat)), [mask.size]]))
        rles.append({"size": list(mask.shape), "counts": counts.tolist()})
    assert Runs.from_coco(rles, *masks.shape[1:]) == runs_of(masks)


@given(bitmaps())
def test_areas_and_boxes(masks: np.ndarray) -> None:
    runs = runs_of(masks)
    assert runs.areas.tolist() == [mask.sum() for mask in masks]
    for mask, box in zip(masks, runs.boxes, strict=True):
        y, x = np.nonzero(mask)
        tight = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
        assert box.tolist() == tight


@given(bitmaps(), orders)
def test_strings_round_trip(masks: np.ndarray, order: str) -> None:
    runs = runs_of(masks)
    texts = runs.to_strings(order=order)
    assert Runs.from_strings(texts, runs.height, runs.width, order=order) == runs


@given(bitmaps(), orders)
def test_strings_number_the_pixels_as_the_order_says(masks: np.ndarray, order: str) -> None:
    for mask, text in zip(masks, runs_of(masks).to_strings(order=order), strict=True):
        flat = np.zeros(mask.size, dtype=bool)
        numbers = [int(word) for word in text.split()]
        for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
            flat[start - 1 : start - 1 + length] = True
        assert np.array_equal(flat.reshape(mask.shape, order="C" if order == "row" else "F"), mask)


def test_orders_by_hand() -> None:
    mask = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
    runs = runs_of(mask[None])
    assert runs.to_strings(order="row") == ["2 2 7 1"]
    assert runs.to_strings(order="column") == ["4 1 7 2"]


@given(hnp.arrays(np.int32, st.tuples(sides, sides), elements=st.integers(0, 6)))
def test_label_map(label_map: np.ndarray) -> None:
    ids = [index for index in np.unique(label_map) if index]
    runs = Runs.from_label_map(label_map)
    assert to_bitmaps(runs).tolist() == [(label_map == index).tolist() for index in ids]
    consecutive = np.searchsorted(ids, label_map) + 1
    consecutive[label_map == 0] = 0
    assert np.array_equal(runs.to_label_map(), consecutive)


@given(bitmaps())
def test_label_map_gives_shared_pixels_to_the_later_instance(masks: np.ndarray) -> None:
    painted = np.zeros(masks.shape[1:], np.int32)
    for index, mask in enumerate(masks, start=1):
        painted[mask] = index
    assert np.array_equal(runs_of(masks).to_label_map(), painted)


@given(bitmaps(), st.randoms())
def test_pixels_in_any_order_and_repeated(masks: np.ndarray, random) -> None:
    runs = runs_of(masks)
    pixels, owner = runs.pixels()
    again = list(range(len(pixels))) * 2
    random.shuffle(again)
    rebuilt = Runs.from_pixels(pixels[again], owner[again], len(runs), runs.height, runs.width)
    assert rebuilt == runs


@given(bitmaps(), st.data())
def test_selection_and_concatenation(masks: np.ndarray, data: st.DataObject) -> None:
    runs = runs_of(masks)
    chosen = data.draw(
        st.lists(st.integers(0, max(len(masks) - 1, 0)), max_size=6 if len(masks) else 0)
    )
    chosen = np.array(chosen, dtype=np.int64)
    assert runs[chosen] == runs_of(masks[chosen])
    keep = data.draw(hnp.arrays(bool, len(masks)))
    assert runs[keep] == runs_of(masks[keep])
    assert Runs.concatenate([runs, runs[keep]]) == runs_of(np.concatenate([masks, masks[keep]]))


@given(bitmaps())
def test_transposed(masks: np.ndarray) -> None:
    assert runs_of(masks).transposed() == runs_of(masks.transpose(0, 2, 1))


@given(bitmaps(), st.data())
def test_cropped(masks: np.ndarray, data: st.DataObject) -> None:
    _, height, width = masks.shape
    y1, x1 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    y2, x2 = data.draw(st.integers(y1 + 1, height)), data.draw(st.integers(x1 + 1, width))
    assert runs_of(masks).cropped(x1, y1, x2, y2) == runs_of(masks[:, y1:y2, x1:x2])


def test_a_window_beyond_the_image() -> None:
    with pytest.raises(ValueError, match=r"window \(0, 0, 6, 4\) .* 4 x 5"):
        Runs.empty(4, 5).cropped(0, 0, 6, 4)


def test_no_instance() -> None:
    runs = Runs.empty(4, 5)
    assert len(runs) == 0
    assert runs.to_coco() == []
    assert runs.to_strings(order="row") == []
    assert runs.boxes.shape == (0, 4)
    assert not runs.to_label_map().any()
    assert Runs.from_coco([], 4, 5) == Runs.from_strings([], 4, 5, order="row") == runs
    assert Runs.from_label_map(np.zeros((4, 5), np.uint16)) == runs


def test_large_image_uses_counts_of_many_digits() -> None:
    mask = np.zeros((1, 3000, 4000), bool)
    mask[0, 1500:, 100] = mask[0, :2, 3999] = True
    assert runs_of(mask).to_coco()[0]["counts"] == encode(mask)[0]["counts"]
    assert to_bitmaps(runs_of(mask)).tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 3], "counts": [1, 2]}, "add up to 3, not to 2 x 3 = 6"),
        ({"size": [2, 3], "counts": [7, -1]}, "negative"),
        ({"size": [3, 2], "counts": [6]}, r"size \[3, 2\] differs from \[2, 3\]"),
        ({"size": [2, 3], "counts": b"1\x1f"}, "character"),
        ({"size": [2, 3], "counts": "P"}, "cut off"),
        ({"size": [2, 3], "counts": b"PPPPPPPPP0"}, "more than 7 digits"),
        ({"size": [2, 3], "counts": b"0O"}, "negative count"),
    ],
    ids=["sum", "negative", "size", "alphabet", "cut off", "too long", "negative compressed"],
)
def test_malformed_coco_rle(rle: dict, message: str) -> None:
    good = {"size": [2, 3], "counts": b"6"}
    with pytest.raises(MaskError, match=message) as error:
        Runs.from_coco([good, rle], 2, 3)
    if "counts" in str(error.value):
        assert "instance" in str(error.value)


def test_size_is_needed_without_rles() -> None:
    with pytest.raises(ValueError, match="height and width"):
        Runs.from_coco([])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 1), np.uint8), r"shape \(2, 3, 1\)"),
        (np.zeros((2, 3), np.float32), "float32"),
        (np.full((2, 3), -1), "found -1"),
    ],
    ids=["dimensions", "floats", "negative"],
)
def test_what_is_no_label_map(array: np.ndarray, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        Runs.from_label_map(array)


def test_order_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"'row'.*'column'.*'diagonal'"):
        Runs.from_strings(["1 1"], 2, 2, order="diagonal")  # type: ignore[arg-type]


def test_parts_of_different_images_do_not_concatenate() -> None:
    with pytest.raises(ValueError, match="one image size"):
        Runs.concatenate([Runs.empty(2, 3), Runs.empty(3, 2)])
