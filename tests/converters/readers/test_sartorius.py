"""From train.csv to annotation files, and what happens to rows that are wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.converters.rejects import DataSetError
from cellseg_mmdet.errors import DataError

TOOL = Path(__file__).parents[3] / "tools/dataset_converters/sartorius.py"


def run_tool(competition, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(TOOL),
        "--csv",
        str(competition.csv),
        "--images",
        str(competition.images),
    ]
    command += ["--out-dir", str(competition.root / "out"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_coco_file_is_what_pycocotools_reads(competition) -> None:
    competition.add("a", "1 2 11 2", "15 3", cell_type="astro").add("b", "80 1").write()
    result = run_tool(competition, "--folds", "2", "--clean", "drop-duplicates")
    assert result.returncode == 0, result.stderr
    out = competition.root / "out"
    names = [
        "all.json",
        "conversions.json",
        "train_fold0.json",
        "train_fold1.json",
        "val_fold0.json",
        "val_fold1.json",
    ]
    assert sorted(path.name for path in out.iterdir()) == names

    coco = COCO(out / "all.json")
    assert [coco.cats[i]["name"] for i in sorted(coco.cats)] == ["astro", "cort"]
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["a.png", "b.png"]
    first, second, third = coco.loadAnns([1, 2, 3])
    assert (first["bbox"], first["area"], first["category_id"]) == ([0, 0, 2, 2], 4, 1)
    assert (second["bbox"], second["area"]) == ([4, 1, 3, 1], 3)
    assert (third["bbox"], third["area"], third["image_id"]) == ([9, 7, 1, 1], 1, 2)
    mask = np.zeros((8, 10), np.uint8)
    mask[0:2, 0:2] = 1
    assert np.array_equal(coco.annToMask(first), mask)

    info = json.loads((out / "all.json").read_text())["info"]
    assert info["source"] == "train.csv"
    assert len(info["source_sha256"]) == 64
    assert info["options"]["clean"] == {"drop_duplicates": True}
    assert "3 cells (2 astro, 1 cort)" in result.stdout


def test_an_image_keeps_its_id_in_every_fold(competition) -> None:
    for index in range(6):
        competition.add(f"image{index}", "1 2")
    competition.write()
    assert run_tool(competition, "--folds", "3").returncode == 0
    out = competition.root / "out"
    of_all = {
        image["file_name"]: image["id"]
        for image in json.loads((out / "all.json").read_text())["images"]
    }
    held_out = []
    for fold in range(3):
        train, val = (
            json.loads((out / f"{part}_fold{fold}.json").read_text()) for part in ("train", "val")
        )
        assert all(
            of_all[image["file_name"]] == image["id"] for image in train["images"] + val["images"]
        )
        assert len(train["images"]) + len(val["images"]) == 6
        held_out += [image["id"] for image in val["images"]]
    assert sorted(held_out) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("format_", ["coco", "mmdet"])
def test_both_formats_hold_the_same(competition, format_: str) -> None:
    competition.add("a", "1 2 11 2", "15 3", cell_type="astro", sample="well-7").add(
        "b", "80 1"
    ).write()
    assert run_tool(competition, "--folds", "0", "--format", format_).returncode == 0
    (path,) = (competition.root / "out").iterdir()
    first, second = read_annotations(path)
    assert (first.file_name, first.height, first.width) == ("a.png", 8, 10)
    assert first.masks.to_strings(order="row") == ["1 2 11 2", "15 3"]
    assert (first.categories, first.cell_type, first.group) == (
        ("astro", "astro"),
        "astro",
        "well-7",
    )
    assert (second.categories, second.cell_type, second.group) == (("cort",), "cort", None)


def bad_competition(competition):
    competition.add("good", "1 2")
    competition.add("mixed", "5 1", "79 5", "3 3 4 1", "7 x", "")
    competition.add_row("missing", "1 1", "10", "8", "cort", "", "", "")
    competition.add_row("good", "1 1", "704", "520", "cort", "", "", "")
    competition.add_row("good", "1 1", "", "8", "cort", "", "", "")
    competition.add_row("good", "1 1", "10", "8", "", "", "", "")
    competition.add_row("", "1 1", "10", "8", "cort", "", "", "")
    competition.add_row("good", "1 1", "10", "8")
    competition.add("broken", "1 1")
    (competition.images / "broken.png").write_bytes(b"no image")
    return competition.write()


CAUSES = {
    4: ("mixed", "ends at pixel 83, past the end"),
    5: ("mixed", "overlapping"),
    6: ("mixed", "'x' is not an integer"),
    7: ("mixed", "drop-empty"),
    8: ("missing", "no image file missing in"),
    9: ("good", "height 520 and width 704 differ from the image file's 8 x 10"),
    10: ("good", "width (empty)"),
    11: ("good", "cell_type is empty"),
    12: ("", "the id is empty"),
    13: ("good", "4 columns; the header has 8"),
    14: ("broken", "no format that is read"),
}


def test_a_bad_row_ends_the_run_and_nothing_is_written(competition) -> None:
    bad_competition(competition)
    result = run_tool(competition)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "11 faults" in result.stderr
    assert "row 4, image mixed: pair 1 (79 5): ends at pixel 83" in result.stderr
    assert "--on-error skip" in result.stderr
    assert not (competition.root / "out").exists()


def test_the_error_holds_every_row(competition) -> None:
    bad_competition(competition)
    with pytest.raises(DataSetError) as error:
        read_sartorius(competition.csv, competition.images)
    assert [reject.row for reject in error.value.rejected] == list(CAUSES)
    for reject in error.value.rejected:
        image_id, cause = CAUSES[reject.row]
        assert reject.image_id == image_id
        assert cause in reject.cause
        assert reject.source == str(competition.csv)


def test_skipping_writes_every_rejected_row(competition) -> None:
    bad_competition(competition)
    result = run_tool(competition, "--on-error", "skip", "--folds", "2")
    assert result.returncode == 0, result.stderr
    with (competition.root / "out/rejected.csv").open(newline="") as file:
        rejected = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rejected] == list(CAUSES)
    assert rejected[0]["content"] == "mixed,79 5,10,8,cort,,,"
    good, mixed = read_annotations(competition.root / "out/all.json")
    assert good.masks.to_strings(order="row") == ["1 2"]
    assert mixed.masks.to_strings(order="row") == ["5 1"]
    assert "11 rejected rows" in result.stdout


def test_cleaning_is_counted(competition) -> None:
    competition.add("a", "1 1", "1 1", "", "79 9", "5 1").write()
    cleaning = Cleaning(clip=True, drop_empty=True, drop_duplicates=True)
    converted = read_sartorius(competition.csv, competition.images, cleaning=cleaning)
    assert converted.cleaned == {"clip": 1, "drop_empty": 1, "drop_duplicates": 1}
    assert converted.records[0].masks.to_strings(order="row") == ["1 1", "79 2", "5 1"]


def test_an_image_whose_only_row_is_empty_stays_without_cells(competition) -> None:
    competition.add("a", "").add("b", "1 1").write()
    converted = read_sartorius(
        competition.csv, competition.images, cleaning=Cleaning(drop_empty=True)
    )
    assert [len(record.masks) for record in converted.records] == [0, 1]


def test_outcome_does_not_depend_on_workers(competition) -> None:
    for index in range(20):
        competition.add(f"image{index:02d}", f"{index + 1} 2", "75 3")
    competition.write()
    one, two = (
        read_sartorius(competition.csv, competition.images, workers=count) for count in (1, 2)
    )
    assert [record.file_name for record in one.records] == [
        record.file_name for record in two.records
    ]
    assert all(a.masks == b.masks for a, b in zip(one.records, two.records, strict=True))


def test_sizes_with_a_decimal_point_are_read(competition) -> None:
    competition.add("a").add_row("a", "1 1", "10.0", "8.0", "cort", "", "", "").write()
    assert read_sartorius(competition.csv, competition.images).num_cells == 1


def test_missing_columns_are_named(competition) -> None:
    competition.add("a", "1 1").write(header=["id", "rle", "width", "height", "x", "y", "z", "v"])
    with pytest.raises(DataError, match="annotation, cell_type missing"):
        read_sartorius(competition.csv, competition.images)


def test_a_csv_without_rows(competition) -> None:
    competition.images.mkdir()
    competition.write()
    with pytest.raises(DataError, match="no row"):
        read_sartorius(competition.csv, competition.images)


def test_a_csv_that_does_not_exist(competition) -> None:
    competition.images.mkdir()
    result = run_tool(competition)
    assert result.returncode == 1
    assert result.stderr.startswith("error:")
    assert "train.csv" in result.stderr
