"""LIVECell: whole files and those of single cell lines, and the oddities of the data set."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.converters.readers.livecell import find_livecell_images, read_livecell
from cellseg_mmdet.converters.rejects import DataSetError
from cellseg_mmdet.errors import DataError

TOOL = Path(__file__).parents[3] / "tools/dataset_converters/livecell.py"
A172, BV2 = "A172_Phase_A7_1_00d00h00m_1", "BV2_Phase_B3_1_01d00h00m_2"
# The corner pixels of rectangles, as polygons have them: 2 rows x 4 columns at the origin, and 3 x 3 at (5, 5).
WIDE, SQUARE = [0, 0, 4, 0, 4, 2, 0, 2], [5, 5, 8, 5, 8, 8, 5, 8]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in (f"livecell_train_val_images/A172/{A172}.tif", f"livecell_test_images/{BV2}.tif"):
        path = folder / name
        path.parent.mkdir(parents=True)
        assert cv2.imwrite(str(path), np.full((10, 12), 128, np.uint8))
    return folder


def annotate(path: Path, cells: dict[str, list[Any]], *, as_dict: bool = False) -> Path:
    """Write an annotation file: the segmentations of each image; several entries of an image end with '#'."""
    entries, annotations = [], []
    for number, (name, segmentations) in enumerate(cells.items(), start=7):
        file_name = f"{name.rstrip('#')}.tif"
        entries.append({"id": number, "file_name": file_name, "height": 10, "width": 12})
        for segmentation in segmentations:
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": str(number) if as_dict else number,
                    "category_id": 1,
                    "segmentation": segmentation,
                    "iscrowd": 0,
                }
            )
    content = {
        "images": entries,
        "annotations": {str(a["id"]): a for a in annotations} if as_dict else annotations,
    }
    path.write_text(json.dumps(content))
    return path


def read(path: Path, images: Path, **options: Any):
    return read_livecell([path], images, find_livecell_images(images), **options)


@pytest.mark.parametrize("as_dict", [False, True], ids=["list", "dict"])
def test_polygons_become_masks(tmp_path: Path, images: Path, as_dict: bool) -> None:
    path = annotate(tmp_path / "a.json", {A172: [[WIDE], [SQUARE]], BV2: []}, as_dict=as_dict)
    a172, bv2 = read(path, images).records
    assert a172.file_name == f"livecell_train_val_images/A172/{A172}.tif"
    assert (a172.cell_type, bv2.cell_type) == ("A172", "BV2")
    assert a172.categories == ("cell", "cell")
    assert a172.masks.boxes.tolist() == [[0, 0, 4, 2], [5, 5, 8, 8]]
    assert a172.masks.areas.tolist() == [8, 9]
    assert len(bv2.masks) == 0


def test_splits_are_kept_as_given(tmp_path: Path, images: Path) -> None:
    train = annotate(tmp_path / "train.json", {A172: [[WIDE]]})
    test = annotate(tmp_path / "test.json", {BV2: [[SQUARE]]}, as_dict=True)
    command = [sys.executable, str(TOOL), "--train", train, "--test", test, "--images", images]
    command += ["--out-dir", tmp_path / "out"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "train: 1 images (1 A172), 1 cells (1 cell)" in result.stdout
    [record] = read_annotations(tmp_path / "out/train.json")
    assert (Path(record.file_name).stem, record.cell_type) == (A172, "A172")
    [record] = read_annotations(tmp_path / "out/test.json")
    assert (Path(record.file_name).stem, record.cell_type) == (BV2, "BV2")
    assert not (tmp_path / "out/val.json").exists()


def test_an_image_of_two_splits_stays_where_it_scores(tmp_path: Path, images: Path) -> None:
    train = annotate(tmp_path / "train.json", {A172: [[WIDE]], BV2: [[WIDE]]})
    val = annotate(tmp_path / "val.json", {BV2: [[SQUARE]]})
    command = [sys.executable, str(TOOL), "--train", train, "--val", val, "--images", images]
    command += ["--out-dir", tmp_path / "out"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    [record] = read_annotations(tmp_path / "out/train.json")
    assert record.cell_type == "A172"
    with (tmp_path / "out/train_findings.csv").open(newline="") as file:
        [finding] = csv.DictReader(file)
    assert (finding["image_id"], finding["kind"]) == (BV2, "in two splits")
    assert "in val as well" in finding["detail"]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_an_image_listed_twice_the_fuller_entry_is_read(
    tmp_path: Path, images: Path, order: tuple[int, int]
) -> None:
    cells = [[WIDE], [SQUARE]]
    path = annotate(tmp_path / "a.json", {A172: cells[: order[0]], f"{A172}#": cells[: order[1]]})
    converted = read(path, images)
    [record] = converted.records
    assert len(record.masks) == 2
    [finding] = converted.findings or []
    assert finding.detail == "listed with 2 cells, which were kept, and with 1"


def test_every_fault_is_named(tmp_path: Path, images: Path) -> None:
    wrong_rle = {"size": [3, 3], "counts": [0, 9]}
    path = annotate(
        tmp_path / "a.json",
        {
            A172: [[WIDE], [[1, 1, 2, 2]], wrong_rle],
            "MCF7_Phase_A1_1_00d00h00m_1": [[WIDE]],
            "strange": [[WIDE]],
        },
    )
    cv2.imwrite(str(images / "strange.tif"), np.zeros((10, 12), np.uint8))
    with pytest.raises(DataSetError) as error:
        read(path, images)
    causes = {(r.source, r.image_id): r.cause for r in error.value.rejected}
    assert len(causes) == len(error.value.rejected) == 4
    assert "no pixel" in causes[f"{path}, annotation 101", A172]
    assert "size [3, 3] differs from [10, 12]" in causes[f"{path}, annotation 102", A172]
    assert "no image file MCF7" in causes[str(path), "MCF7_Phase_A1_1_00d00h00m_1"]
    assert "cell line" in causes[str(path), "strange"]
    [record] = read(path, images, on_error="skip").records
    assert record.masks.areas.tolist() == [8]


def test_a_crowd_is_no_cell(tmp_path: Path, images: Path) -> None:
    path = annotate(tmp_path / "a.json", {A172: [[WIDE], [SQUARE]]})
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    with pytest.raises(DataSetError) as error:
        read(path, images)
    [reject] = error.value.rejected
    assert reject.source == f"{path}, annotation 100"
    assert reject.cause == "iscrowd is 1, a region of many cells; allowed is 0"
    [record] = read(path, images, on_error="skip").records
    assert record.masks.areas.tolist() == [9]


def test_polygons_of_one_cell_are_joined(tmp_path: Path, images: Path) -> None:
    path = annotate(tmp_path / "a.json", {A172: [[WIDE, SQUARE]]})
    [record] = read(path, images).records
    assert record.masks.areas.tolist() == [8 + 9]


@pytest.mark.parametrize(
    ("segmentation", "cause"),
    [
        (WIDE, "a mask is a list of polygons .* a single polygon stands in a list of its own"),
        (None, "a mask is a list of polygons .* got null"),
        ([[*WIDE, 1]], "a polygon of 9 numbers; x and y come in pairs"),
        ({"size": [10, 12]}, "a mask is .* a COCO RLE with 'size' and 'counts'; got {'size'"),
        ({"size": [10, 12], "counts": [0, 9]}, "RLE counts add up to 9, not to 10 x 12 = 120"),
    ],
)
def test_segmentations_that_are_none(
    tmp_path: Path, images: Path, segmentation: Any, cause: str
) -> None:
    path = annotate(tmp_path / "a.json", {A172: [segmentation]})
    with pytest.raises(DataSetError) as error:
        read(path, images)
    [reject] = error.value.rejected
    assert re.match(f"segmentation: {cause}", reject.cause)


def test_a_size_that_differs_from_the_image(tmp_path: Path, images: Path) -> None:
    path = annotate(tmp_path / "a.json", {A172: [[WIDE]]})
    path.write_text(path.read_text().replace('"height": 10', '"height": 11'))
    with pytest.raises(DataSetError, match=r"height 11 and width 12 differ .* 10 x 12"):
        read(path, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no 'annotations'"),
        ({"annotations": []}, "no 'images'"),
        ({"annotations": [1], "images": []}, "no 'annotations'"),
        ({"annotations": [], "images": [{"id": 1}]}, "images, entry 1: no 'file_name'"),
        (
            {"annotations": [], "images": [dict(id=1, file_name="a", height=None, width=9)]},
            "images, entry 1: height is null; it must be a whole number from 1",
        ),
        ({"annotations": [{"id": 3, "image_id": 9}], "images": []}, "annotation 3 .* image_id 9"),
    ],
)
def test_files_of_another_layout(tmp_path: Path, images: Path, content: Any, message: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.json", images)


def test_images_that_share_a_name(images: Path) -> None:
    cv2.imwrite(str(images / f"{A172}.png"), np.zeros((10, 12), np.uint8))
    with pytest.raises(DataError, match="share a name"):
        find_livecell_images(images)
