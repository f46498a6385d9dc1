from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.export import Fault, check_submission, write_submission
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

VALID = ["id,predicted", "a,1 2 7 1", "a,3 1", "b,"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images of 4 x 6 pixels, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((4, 6), np.uint8))
    (folder / "notes.txt").write_text("c")
    return folder


def check(images: Path, content: list[str] | bytes, format: str = "sartorius") -> list[Fault]:
    path = images.parent / "submission.csv"
    if isinstance(content, list):
        content = "".join(f"{line}\n" for line in content).encode()
    path.write_bytes(content)
    return check_submission(path, images, format)


@pytest.mark.parametrize(
    "content",
    [
        VALID,
        ["id,predicted", "b,", "a,"],
        ["id,predicted", "b,1 24", "a,1 1 2 1"],
        "\r\n".join(VALID).encode(),
        b'id,predicted\na,"1 2 7 1"\n"b",""\n',
    ],
    ids=["cells", "empty", "full and touching runs", "crlf, no end of line", "quoted"],
)
def test_valid_submissions(images: Path, content: list[str] | bytes) -> None:
    assert check(images, content) == []


NO_ROW = "no row; an image without cells needs one with an empty string"


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        (
            ["ImageId,EncodedPixels", *VALID[1:]],
            [(1, None, "the header is 'ImageId,EncodedPixels'; it must be 'id,predicted'")],
        ),
        (
            ["\ufeffid,predicted", *VALID[1:]],
            [(1, None, "the header is '\\ufeffid,predicted'; it must be 'id,predicted'")],
        ),
        (
            [*VALID, "x,1 1", "x,5 1", "y,"],
            [
                (5, "x", "there is no such image in IMAGES (2 rows, to row 6)"),
                (7, "y", "there is no such image in IMAGES"),
            ],
        ),
        (["id,predicted", "b,"], [(None, "a", NO_ROW)]),
        (["id,predicted"], [(None, "a", NO_ROW), (None, "b", NO_ROW)]),
        (
            [*VALID, "b,"],
            [(5, "b", "row 4 says already that this image has no cells")],
        ),
        (
            [*VALID, "a,"],
            [(5, "a", "empty mask, though other rows of this image hold cells")],
        ),
        (
            [*VALID[:3], "b, "],
            [(4, "b", "the mask is white space; leave it empty")],
        ),
        (
            [*VALID[:3], "b,1 2 3", "b,9 1", "b,1 x"],
            [
                (
                    4,
                    "b",
                    "odd count of numbers (3): pair 2 has start 3 and no length "
                    "(image of 4 x 6 pixels)",
                ),
                (
                    6,
                    "b",
                    "pair 1: length 'x' is not an integer; allowed are integers from 1 "
                    "(image of 4 x 6 pixels)",
                ),
            ],
        ),
        (
            [*VALID[:3], "b,1 2 0 3"],
            [(4, "b", "pair 2 (0 3): start must be at least 1 (image of 4 x 6 pixels)")],
        ),
        (
            [*VALID[:3], "b,1 0"],
            [(4, "b", "pair 1 (1 0): length must be at least 1 (image of 4 x 6 pixels)")],
        ),
        (
            [*VALID[:3], "b,5 1 1 1"],
            [
                (
                    4,
                    "b",
                    "pair 2 (1 1): unsorted, it begins before pair 1 (5 1) has ended "
                    "(image of 4 x 6 pixels)",
                )
            ],
        ),
        (
            [*VALID[:3], "b,24 2"],
            [
                (
                    4,
                    "b",
                    "pair 1 (24 2): ends at pixel 25, past the end; the image has 24 pixels "
                    "(image of 4 x 6 pixels)",
                )
            ],
        ),
        (
            [*VALID, "a,2 2", "a,20 1"],
            [
                (5, "a", "shares 1 pixel with row 2"),
                (5, "a", "shares 1 pixel with row 3"),
            ],
        ),
        (
            ["id,predicted", "b,1 10", "a,1 3", "a,1 24", "b,5 20", "b,9 1"],
            [
                (4, "a", "shares 3 pixels with row 3"),
                (5, "b", "shares 6 pixels with row 2"),
                (6, "b", "shares 1 pixel with row 2"),
                (6, "b", "shares 1 pixel with row 5"),
            ],
        ),
        (
            [*VALID[:3], "", "b,,1", "b", "b,"],
            [
                (4, None, "a blank line; a row has the 2 columns id,predicted"),
                (5, None, "3 columns; a row has the 2 columns id,predicted"),
                (6, None, "1 column; a row has the 2 columns id,predicted"),
            ],
        ),
    ],
    ids=[
        "header", "byte order mark", "unknown id", "missing id", "header only", "empty twice",
        "empty beside cells", "white space", "malformed", "start 0", "length 0", "unsorted",
        "past the end", "overlap", "overlap of many", "columns",
    ],
)  # fmt: skip
def test_each_fault_is_found(
    images: Path, lines: list[str], faults: list[tuple[int | None, str | None, str]]
) -> None:
    expected = [Fault(row, id_, text.replace("IMAGES", str(images))) for row, id_, text in faults]
    assert check(images, lines) == expected


def test_an_empty_file(images: Path) -> None:
    first, *others = check(images, b"")
    assert first == Fault(1, None, "the header is ''; it must be 'id,predicted'")
    assert [fault.image_id for fault in others] == ["a", "b"]


def test_bytes_that_are_no_text(images: Path) -> None:
    faults = check(images, b"id,predicted\na,1 1\nb,1 \xff1\n")
    assert faults[0] == Fault(3, None, "byte 5 of the line, 0xff, is not UTF-8")
    assert faults[1].row == 3
    assert faults[1].image_id == "b"
    assert len(faults) == 2


def test_a_quote_that_is_not_closed(images: Path) -> None:
    faults = check(images, b'id,predicted\na,1 1\nb,"1 1\n')
    assert faults[0].row == 3
    assert faults[0].message.startswith("not readable as csv")
    assert faults[1:] == [Fault(None, "b", NO_ROW)]


def test_rows_are_lines_of_the_file(images: Path) -> None:
    faults = check(images, b'id,predicted\na,"1 1\n3 1"\nb,0 1\n')
    assert [fault.row for fault in faults] == [4]


def test_faults_of_all_kinds_at_once_come_in_the_order_of_the_rows(images: Path) -> None:
    faults = check(images, ["id", "x,1 1", "a,9 9 9", "a,1 1", "a,1 1", "a,,", "c,"])
    assert [fault.row for fault in faults] == [1, 2, 3, 5, 6, 7, None]


def test_a_mask_longer_than_csv_allows_by_default(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((300, 300), np.uint8))
    text = " ".join(f"{start} 1" for start in range(1, 90_000, 2))
    assert len(text) > 131_072
    path = tmp_path / "submission.csv"
    path.write_text(f"id,predicted\na,{text}\n")
    assert check_submission(path, tmp_path, "sartorius") == []


def test_images_in_folders_of_their_own(tmp_path: Path) -> None:
    for name in "ab":
        for kind in ("images", "masks"):
            folder = tmp_path / "stage1" / name / kind
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / f"{name}{kind[5:] if kind == 'masks' else ''}.png"),
                        np.zeros((4, 6), np.uint8))  # fmt: skip
            if kind == "masks":
                cv2.imwrite(str(folder / "other.png"), np.zeros((4, 6), np.uint8))
    faults = check(tmp_path / "stage1", ["ImageId,EncodedPixels", "a,1 4", "a,5 1"], "dsb2018")
    assert faults == [Fault(None, "b", NO_ROW)]


def test_a_fault_as_text() -> None:
    assert str(Fault(3, "a", "wrong")) == "row 3, image a: wrong"
    assert str(Fault(None, "a", "wrong")) == "image a: wrong"
    assert str(Fault(3, None, "wrong")) == "row 3: wrong"


@pytest.mark.parametrize("name", ["no_such_folder", "empty"])
def test_a_folder_without_images_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((NotADirectoryError, CellsegError), match=name):
        check_submission(tmp_path / "s.csv", tmp_path / name, "sartorius")


@pytest.mark.parametrize("format", ["sartorius", "dsb2018"])
def test_what_is_written_is_valid(tmp_path: Path, format: str) -> None:
    rng = np.random.default_rng(5)
    predictions = []
    for name, count in (("a", 30), ("b", 0), ("c", 1)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((40, 50), np.uint8))
        dense = rng.random((count, 40, 50)) < 0.1
        instance, y, x = np.nonzero(dense)
        predictions.append(
            ImagePrediction(
                image_id=name,
                img_id=None,
                height=40,
                width=50,
                boxes=np.zeros((count, 4)),
                scores=rng.random(count),
                labels=np.zeros(count, dtype=int),
                masks=Runs.from_pixels(x * 40 + y, instance, count, 40, 50),
            )
        )
    path = tmp_path / "submission.csv"
    write_submission(path, predictions, format)
    assert check_submission(path, tmp_path, format) == []
    assert write_submission(path, predictions, format).num_pixels_removed > 0


def test_thousands_of_cells_in_one_place_are_told_once_each(images: Path) -> None:
    faults = check(images, ["id,predicted", *["a,2 4 8 4"] * 5000])
    overlapping = [fault for fault in faults if "shares" in fault.message]
    assert [fault.row for fault in overlapping] == list(range(3, 5002))
    assert all("shares 8 pixels or more with row" in fault.message for fault in overlapping)
