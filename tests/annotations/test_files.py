"""Annotation files of others: COCO polygons, mmdet 2.x, damaged ones."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.annotations.files import read_annotations, write_annotations
from cellseg_mmdet.converters.readers.mmdet_pickle import read_mmdet_v2
from cellseg_mmdet.converters.rejects import DataSetError
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

TOOL = Path(__file__).parents[2] / "tools/dataset_converters/mmdet_pickle.py"


def coco(**changes: object) -> dict:
    content = {
        "images": [{"id": 5, "file_name": "a.png", "height": 8, "width": 10}],
        "categories": [{"id": 3, "name": "cell"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 5,
                "category_id": 3,
                "bbox": [1, 1, 4, 3],
                "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]],
            },
            {
                "id": 2,
                "image_id": 5,
                "category_id": 3,
                "bbox": [0, 0, 1, 2],
                "segmentation": {"size": [8, 10], "counts": [0, 2, 78]},
            },
        ],
    }
    return content | changes


def save(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_polygons_and_plain_counts(tmp_path: Path) -> None:
    (record,) = read_annotations(save(tmp_path / "a.json", coco()))
    assert record.masks.boxes.tolist() == [[1, 1, 5, 4], [0, 0, 1, 2]]
    assert record.categories == ("cell", "cell")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "no 'annotations', 'categories'"),
        (
            coco(annotations=[{"id": 9, "image_id": 6, "category_id": 3, "bbox": [0, 0, 1, 1]}]),
            r"annotation 9: image_id is 6 \(number\), .* not among the file's 1 images \(5\)",
        ),
        (
            coco(annotations=[{"id": 9, "image_id": 5, "category_id": 4, "bbox": [0, 0, 1, 1]}]),
            r"annotation 9: category_id is 4 \(number\), .* 1 categories \(3\)",
        ),
        (
            coco(annotations=[{"id": 9, "image_id": 5, "category_id": 3}]),
            "annotation 9: no 'bbox'",
        ),
        (
            coco(images=[{"id": 5, "file_name": "a.png"}]),
            r"images, entry 1 \(id 5\): no 'height'",
        ),
        (coco(categories=[{"id": 3}]), "categories, entry 1: no 'name'"),
        (coco(images=[7]), r"images, entry 1: is 7 \(number\), not an object"),
        (coco(images=coco()["images"] * 2), "several images have the id 5"),
        (
            coco(
                annotations=[
                    {
                        "image_id": 5,
                        "category_id": 3,
                        "bbox": [0, 0, 1, 1],
                        "segmentation": {"size": [1, 1], "counts": "1"},
                    }
                ]
            ),
            r"annotations, entry 1 of a\.png: its mask: RLE size \[1, 1\]",
        ),
    ],
)
def test_damaged_coco(tmp_path: Path, content: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_annotations(save(tmp_path / "a.json", content))
    assert "a.json" in str(error.value)


def test_what_is_to_be_ignored_is_no_cell(tmp_path: Path) -> None:
    content = coco()
    content["annotations"][0]["iscrowd"] = 1
    (record,) = read_annotations(save(tmp_path / "a.json", content))
    assert record.masks.boxes.tolist() == [[0, 0, 1, 2]]


def test_cut_off_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [')
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"metainfo": {}})[:9])
    for name in ("a.json", "a.pkl"):
        with pytest.raises(DataError, match=r"cut off|truncated"):
            read_annotations(tmp_path / name)


def test_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.json.*\.pkl"):
        read_annotations(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"\.json.*\.pkl"):
        write_annotations(tmp_path / "a.csv", [])


def test_categories_must_cover_the_records(tmp_path: Path) -> None:
    record = ImageRecord("a.png", 2, 2, Runs.from_strings(["1 1"], 2, 2, order="row"), ("astro",))
    with pytest.raises(DataError, match=r"\['astro'\] are not among \['cort'\]"):
        write_annotations(tmp_path / "a.json", [record], categories=["cort"])
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ mmdet 2.x

MASKS = Runs.from_strings(["1 2 11 2", "80 1"], 8, 10, order="row")


def v2_entry(**changes: object) -> dict:
    annotation = {
        "bboxes": MASKS.boxes.astype(np.float32),
        "labels": np.zeros(2),
        "masks": MASKS.to_coco(),
    }
    return {"filename": "a.png", "width": 10, "height": 8, "ann": annotation} | changes


def dump(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def test_v2_is_read(tmp_path: Path) -> None:
    path = dump(tmp_path / "v2.pkl", [v2_entry(), v2_entry(filename="b.png", ann={})])
    first, second = read_mmdet_v2(path).records
    assert first.masks == MASKS
    assert first.categories == ("cell", "cell")
    assert len(second.masks) == 0


@pytest.mark.parametrize("suffix", [".json", ".pkl"])
def test_v2_tool(tmp_path: Path, suffix: str) -> None:
    path = dump(tmp_path / "v2.pkl", [v2_entry()])
    out = tmp_path / f"out{suffix}"
    command = [
        sys.executable,
        str(TOOL),
        str(path),
        "--from-v2",
        "--classes",
        "astro",
        "cort",
        "--out",
        str(out),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (record,) = read_annotations(out)
    assert record.masks == MASKS
    assert record.categories == ("astro", "astro")


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (v2_entry(ann={"masks": MASKS.to_coco(), "labels": [0]}), "2 masks but 1 labels"),
        (v2_entry(ann={"masks": MASKS.to_coco(), "labels": [0, 3]}), "label 3"),
        (v2_entry(height=9), "size"),
        ({"filename": "a.png", "ann": {}}, "'height'"),
    ],
)
def test_v2_entries_that_are_wrong(tmp_path: Path, entry: dict, cause: str) -> None:
    with pytest.raises(DataSetError, match=cause):
        read_mmdet_v2(dump(tmp_path / "v2.pkl", [entry]))


def test_layouts_are_told_apart(tmp_path: Path) -> None:
    v2 = dump(tmp_path / "v2.pkl", [v2_entry()])
    with pytest.raises(DataError, match="--from-v2"):
        read_annotations(v2)
    v3 = tmp_path / "v3.pkl"
    write_annotations(v3, read_mmdet_v2(v2).records)
    with pytest.raises(DataError, match=r"mmdet 2\.x"):
        read_mmdet_v2(v3)


class Payload:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran.txt"),))


def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = dump(tmp_path / "v3.pkl", {"metainfo": {}, "data_list": [Payload()]})
    with pytest.raises(DataError, match="not a pickle of plain data"):
        read_annotations(path)
    assert not (tmp_path / "ran.txt").exists()


def test_format_and_name_of_the_output_must_agree(tmp_path: Path) -> None:
    path = dump(tmp_path / "v2.pkl", [v2_entry()])
    command = [sys.executable, str(TOOL), str(path), "--from-v2", "--format", "coco"]
    command += ["--out", str(tmp_path / "out.pkl")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "--format coco makes a .json file" in result.stderr
