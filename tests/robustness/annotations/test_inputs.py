"""Malformed inputs end in an error that names them, or are accepted for a reason that stands here.

All single faults, more than 5,000, are read by the test that is marked slow, every 41st of them in the fast tests.
`make fuzz` reads inputs with random faults for CELLSEG_FUZZ_SECONDS.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

import cellseg_mmdet.datasets  # noqa: F401  registers CellDataset
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.terminal import told_in_a_line
from tests.robustness.annotations.inputs import (
    SUFFIXES,
    Input,
    label_folders,
    random_input,
    single_faults,
)
from tests.robustness.annotations.readers import read

KINDS = (*SUFFIXES, "labels")
NOT_READ = ".*"
WHOLE = "zero|one|negative|whole float|2 \\*\\* 31"
TEXT = "text|number as text|not ASCII"
NO_PIXEL = "two points|outside polygon|RLE of nothing"
FEWER_POINTS = "empty list|list|flat polygon|tuple|twice"

# (kind, field, fault) as patterns -> why it is accepted.
ACCEPTED: dict[tuple[str, str, str], str] = {
    ("coco|livecell", "info.*", NOT_READ): "what is not read cannot be wrong",
    ("coco|livecell", r"annotations\.0\.(id|area)", NOT_READ): "is not read",
    (
        "livecell",
        r"(images\.0\.cell_type|categories.*|annotations\.0\.(bbox|category_id).*)",
        NOT_READ,
    ): (
        "is not read: the name of the image says the cell line, all cells are of one class, boxes are the masks'"
    ),
    ("mmdet_v2", r"0\.ann\.bboxes", NOT_READ): "is not read: boxes are those of the masks",
    ("coco", r"images\.0\.cell_type|images\.0\.group", f"null|empty text|missing|{WHOLE}|{TEXT}"): (
        "may be missing; a number is taken as the text of it"
    ),
    (
        "coco",
        r"(images|categories)\.0\.id|annotations\.0\.(image|category)_id",
        "one|whole float",
    ): ("is the value that stood there, or 2.0, the other image"),
    ("livecell", r"images\.0\.id|annotations\.0\.image_id", "one|whole float"): "as for COCO",
    ("livecell", r"images\.0", "twice"): "LIVECell lists images twice: a finding",
    ("livecell", "annotations", "empty list|empty object"): "images without cells",
    ("coco|mmdet", r"categories\.0\.name|metainfo\.classes(\.0)?", TEXT): "another name",
    ("coco|livecell", r"annotations\.0", "missing|twice"): "a cell less; the same cell twice",
    ("mmdet", r"data_list\.0", "missing"): "an image less",
    ("mmdet", r"data_list\.0\.instances(\.0)?", "empty list|missing|twice"): (
        "cells less; the same cell twice"
    ),
    ("mmdet_v2|dump|results", "0", "missing|twice"): "an entry less; the same cell twice",
    ("mmdet|dump", r"(data_list\.0|0)\.img_id", f"null|missing|{WHOLE}|{TEXT}"): "any id",
    ("coco|mmdet|results", r".*bbox\.0", f"fraction|{WHOLE}"): (
        "another box; where there is a mask it has to touch it"
    ),
    ("mmdet", r".*\.bbox_label", "zero"): "is the value that stood there",
    ("results", r"0\.(image_id|category_id)", "one|whole float"): "as for COCO",
    ("results", r"0\.score", f"fraction|{WHOLE}"): "scores are of any scale",
    ("results", r"0\.bbox", "null|missing"): "the box of the mask is taken",
    ("coco|mmdet|results", r".*(segmentation|mask)", NO_PIXEL): (
        "no pixel in the image: left out and counted, or a found cell that nothing can match"
    ),
    ("dump", r"0\.pred_instances\.masks\.0", "RLE of nothing"): "a found cell without a pixel",
    ("dump", r"0\.pred_instances\.(masks|bboxes)", "RLE in a list|two points"): "a list of one",
    (
        "dump|results",
        r".*counts\.0",
        "zero|missing|twice",
    ): "is the same mask, or a zero more or less at its begin",
    ("dump", r"0\.ori_shape\.0", "twice"): "what follows height and width is not looked at",
    ("dump", r"0\.img_path", TEXT): "another image",
    ("dump|results|livecell", "the whole file", "empty list"): "no image, no result",
    ("coco|livecell|mmdet", r".*(segmentation|mask)\.0", FEWER_POINTS): (
        "fewer than three points cover nothing; the same polygon twice covers the same"
    ),
    ("mmdet_v2", r"0\.ann\.masks(\.0\.0)?", f"RLE in a list|{FEWER_POINTS}"): "as for mmdet 3.x",
    (
        "coco|livecell|mmdet|mmdet_v2",
        r".*\.0\.0(\.0)?",
        f"true|fraction|0-dim.*|numpy bool|{WHOLE}",
    ): ("another coordinate; among numbers numpy takes true for 1"),
    ("coco|livecell", r".*\.iscrowd", "null|true|zero|one|missing"): "a flag; a crowd is no cell",
    ("mmdet", r".*\.ignore_flag", "null|true|zero|one|numpy bool|missing"): "a flag",
    ("mmdet_v2", r"0\.filename", TEXT): "another image",
    ("mmdet_v2", r"0\.(height|width)", "whole float"): "polygons are clipped to any size",
    ("mmdet_v2", r"0\.ann", "empty object"): "an image without cells",
    (".*", "the bytes", "with a byte order mark"): "is passed over",
    ("mmdet|mmdet_v2|dump", "the bytes", "twice|a bit turned"): (
        "a pickle ends where it says that it ends; the bit is one of the protocol's that nothing depends on"
    ),
    ("labels", "an array", "of another size|of 64 bits|empty"): "is a label image",
    ("labels", r"a \..*", "twice|of an image|a bit turned"): (
        "what follows an image is not read; a black image is a label image without cells"
    ),
}


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> Iterator[None]:
    init_default_scope("mmdet")
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def faults_of(kind: str) -> Iterator[Input]:
    return label_folders() if kind == "labels" else single_faults(kind)


def reason(one: Input) -> str | None:
    """Return why an input is accepted, None if it must not be."""
    for patterns, why in ACCEPTED.items():
        if all(map(re.fullmatch, patterns, one[:3])):
            return why
    return None


def outcome(one: Input, folder: Path) -> str | None:
    """Return what is wrong with how an input is taken, None if nothing is."""
    folder.mkdir()
    path = one.write(folder)
    try:
        read(one.kind, path)
    except (CellsegError, OSError) as error:
        message = told_in_a_line(error) or ""
        if len(message) < 2000 and path.name in message:
            return None
        return f"{one.name}: a message of {len(message)} characters: {message[:200]}"
    except Exception as error:
        return f"{one.name}: {type(error).__name__}: {str(error)[:200]}"
    return None if reason(one) or "at random" in one.fault else f"{one.name}: accepted"


def assert_all_taken(inputs: Iterable[Input], folder: Path) -> int:
    found = [outcome(one, folder / str(number)) for number, one in enumerate(inputs)]
    wrong = [text for text in found if text]
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong[:40])
    return len(found)


@pytest.mark.parametrize("kind", KINDS)
def test_some_single_faults(kind: str, tmp_path: Path) -> None:
    some = [one for number, one in enumerate(faults_of(kind)) if number % 41 == 3]
    assert assert_all_taken(some, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_single_faults(kind: str, tmp_path: Path) -> None:
    assert assert_all_taken(faults_of(kind), tmp_path) > 50


def test_valid_files_are_taken(tmp_path: Path) -> None:
    from tests.robustness.annotations.inputs import valid, write

    for kind in SUFFIXES:
        (tmp_path / kind).mkdir()
        read(kind, write(tmp_path / kind, kind, valid(kind)))


def test_random_faults(tmp_path: Path) -> None:
    assert_all_taken(map(random_input, range(100)), tmp_path)


@pytest.mark.fuzz
@pytest.mark.skipif("CELLSEG_FUZZ_SECONDS" not in os.environ, reason="make fuzz runs it")
def test_random_faults_for_long(tmp_path: Path) -> None:
    seconds = float(os.environ["CELLSEG_FUZZ_SECONDS"])
    first = int(os.environ.get("CELLSEG_FUZZ_SEED", str(time.time_ns() // 10**9)))
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        # Where a library crashes the process, the seed is in the last line of this file.
        (tmp_path / "seed.txt").write_text(f"{first + number}\n")
        wrong = outcome(random_input(first + number), tmp_path / str(number))
        assert not wrong, f"seed {first + number}: {wrong}"
        number += 1
        for path in sorted((tmp_path / str(number - 1)).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    assert number
