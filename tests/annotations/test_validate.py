"""What is a cell, what is a fault, and what is left out without being one: the same for all who read annotations."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellseg_mmdet.annotations.faults import AnnotationError
from cellseg_mmdet.annotations.files import read_annotations, write_annotations
from cellseg_mmdet.annotations.image_files import check_annotations
from cellseg_mmdet.annotations.validate import read_checked
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

SQUARE = [1, 1, 5, 1, 5, 4, 1, 4]  # columns 1 to 4, rows 1 to 3
BOX = [1, 1, 4, 3]


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    entry = {"id": number, "image_id": 5, "category_id": 3, "bbox": BOX, "segmentation": [SQUARE]}
    return {key: value for key, value in (entry | changes).items() if value != "missing"}


def coco(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    image = {"id": 5, "file_name": "a.png", "height": 8, "width": 10}
    content = {"images": [image], "categories": [{"id": 3, "name": "cell"}]}
    return content | {"annotations": list(annotations)} | changes


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def write(content: Any, name: str = "a.json") -> Path:
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"segmentation": []}, "has no mask"),
        ({"segmentation": None}, "has no mask"),
        ({"segmentation": "missing"}, "has no mask"),
        ({"segmentation": SQUARE}, "a single polygon stands in a list of its own"),
        ({"segmentation": [{"size": [8, 10], "counts": [80]}]}, "an RLE stands without a list"),
        ({"segmentation": [[*SQUARE, 1]]}, "a polygon of 9 numbers; x and y come in pairs"),
        ({"segmentation": {"size": [8, 10], "counts": [3]}}, "RLE counts add up to 3"),
        ({"segmentation": {"size": [10, 8], "counts": [80]}}, "height and width are exchanged"),
        ({"bbox": [1, 1, -4, 3]}, "width and height must not be negative"),
        ({"bbox": [1, 1, float("nan"), 3]}, "four finite numbers"),
        ({"bbox": [1, 1, 4]}, "four finite numbers"),
        ({"bbox": [6, 6, 2, 1]}, "is not where its mask is, in x 1 to 5 and y 1 to 4"),
        ({"image_id": "5"}, r"image_id is '5' (text), but the file's images have 5 (number)"),
        ({"category_id": True}, "category_id is True (true or false)"),
        ({"iscrowd": "no"}, "iscrowd is 'no' (text); it must be 0 or 1"),
    ],
)
def test_faults_stop_or_are_left_out(save: Any, changes: dict[str, Any], cause: str) -> None:
    path = save(coco(annotation(1), annotation(2, **changes)))
    with pytest.raises(AnnotationError) as error:
        read_annotations(path)
    assert cause in str(error.value)
    assert str(error.value).startswith(f"{path}: annotation 2")
    said: list[str] = []
    (record,) = read_annotations(path, on_error="skip", tell=said.append)
    assert record.masks.areas.tolist() == [12]
    assert len(said) == 1 and "entries left out that cannot be used: 1 (1 " in said[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"segmentation": [[20, 20, 30, 20, 30, 30]]}, "without a pixel in the image"),
        ({"segmentation": [[1, 1, 5, 5]]}, "without a pixel in the image"),
        ({"segmentation": {"size": [8, 10], "counts": [80]}}, "without a pixel in the image"),
        ({"bbox": [1, 1, 0, 3]}, "with an empty box"),
        ({"ignore": 1}, "with ignore set"),
    ],
)
def test_what_is_no_cell_is_left_out_and_counted(save: Any, changes: Any, reason: str) -> None:
    checked = read_checked(save(coco(annotation(1), annotation(2, **changes))))
    assert [len(image["instances"]) for image in checked.images] == [1]
    assert checked.said == [f"{checked_path(checked)}: annotations left out: 1 (1 {reason})"]
    assert not checked.faults


def checked_path(checked: Any) -> str:
    return checked.said[0].partition(": ")[0]


def test_polygons_are_clipped_to_the_image(save: Any) -> None:
    far = [[8, 6, 20, 6, 20, 20, 8, 20]]  # columns 8 and 9, rows 6 and 7 are inside
    (record,) = read_annotations(save(coco(annotation(1, segmentation=far, bbox=[8, 6, 12, 14]))))
    assert record.masks.boxes.tolist() == [[8, 6, 10, 8]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (coco(categories=[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]), "entry 2: id 3"),
        (coco(categories=[{"id": 3, "name": "a"}, {"id": 4, "name": "a"}]), "name 'a'"),
        (coco(categories=[{"id": 3, "name": "a"}, {"id": "4", "name": "b"}]), "write all as num"),
        (coco(categories="cell"), r"categories is 'cell' \(text\); it must be a list"),
    ],
)
def test_categories_that_cannot_be_told_apart(save: Any, content: Any, message: str) -> None:
    for on_error in ("stop", "skip"):
        with pytest.raises(DataError, match=message):
            read_annotations(save(content), on_error=on_error)


@pytest.mark.parametrize("key", ["id", "file_name"])
def test_an_image_listed_twice(save: Any, key: str) -> None:
    first = coco()["images"][0]
    second = first | ({"file_name": "b.png"} if key == "id" else {"id": 6})
    path = save(coco(annotation(1), annotation(2, image_id=second["id"]), images=[first, second]))
    with pytest.raises(AnnotationError, match=r"several images have the id 5|a\.png is that of im"):
        read_annotations(path)
    (record,) = read_annotations(path, on_error="skip", tell=lambda _: None)
    assert len(record.masks) == (2 if key == "id" else 1)


@pytest.mark.parametrize("side", ["100", None, 0, -4, 1.5, [8], True, float("inf"), 10**30, 2**17])
def test_sizes_of_images(save: Any, side: Any) -> None:
    image = coco()["images"][0] | {"height": side, "width": 2**15}
    with pytest.raises(AnnotationError, match=r"images, entry 1 \(id 5\): .*height"):
        read_annotations(save(coco(images=[image])))


def test_many_faults_are_counted_and_the_message_is_short(save: Any) -> None:
    wrong = [annotation(n, segmentation=["x" * 5000] if n % 3 else None) for n in range(300)]
    with pytest.raises(AnnotationError) as error:
        read_annotations(save(coco(*wrong)))
    assert len(error.value.faults) == 300
    assert len(str(error.value)) < 2000
    assert "300 entries cannot be used (200 mask that cannot be read, 100 no mask)" in str(
        error.value
    )


def test_ids_of_annotations_may_be_the_same_but_it_is_said(save: Any) -> None:
    checked = read_checked(save(coco(annotation(1), annotation(1))))
    assert len(checked.images[0]["instances"]) == 2
    assert "annotations with an id of another one: 1" in checked.said[0]


def test_crowds_are_counted_and_explained_where_they_are_most(save: Any) -> None:
    crowds = [annotation(n, iscrowd=1) for n in range(2, 4)]
    said = read_checked(save(coco(annotation(1), *crowds))).said
    assert "2 of 3 annotations are to be ignored" in said[0]
    assert "brush masks as RLE with iscrowd=1. If they are cells, set iscrowd to 0" in said[0]
    said = read_checked(save(coco(annotation(1), annotation(4), crowds[0]))).said
    assert "1 of 3" in said[0] and "brush" not in said[0]


def test_a_file_of_which_nothing_is_left_is_no_truth_without_cells(save: Any) -> None:
    for wrong in ({"bbox": [0, 0, 0, 0]}, {"segmentation": None}):
        with pytest.raises(DataError, match=r"none of its 1 annotations can be used\. .*: 1 \(1 "):
            read_annotations(save(coco(annotation(1, **wrong))), on_error="skip")
    assert [len(record.masks) for record in read_annotations(save(coco()))] == [0]


def test_json_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(coco(annotation(1))).encode())
    assert len(read_annotations(path)) == 1
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(DataError, match=r"a\.json .*nested more than a thousand deep"):
        read_annotations(path)


def test_one_class_may_be_a_text_alone(tmp_path: Path) -> None:
    masks = Runs.from_label_map(np.array([[1, 1]]))
    write_annotations(tmp_path / "a.pkl", [ImageRecord("a.png", 1, 2, masks, ("cell",))])
    content = pickle.loads((tmp_path / "a.pkl").read_bytes())
    content["metainfo"]["classes"] = "cell"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    assert read_annotations(tmp_path / "a.pkl")[0].categories == ("cell",)


class TestSeveralFiles:
    def test_are_read_as_one(self, save: Any) -> None:
        first = save(coco(annotation(1)))
        image = coco()["images"][0] | {"file_name": "b.png"}
        second = save(coco(annotation(1), images=[image]), "b.json")
        assert [r.file_name for r in read_annotations([first, second])] == ["a.png", "b.png"]

    def test_of_the_same_image_are_refused(self, save: Any) -> None:
        paths = save(coco()), save(coco(), "b.json")
        with pytest.raises(DataError, match=r"a\.png is in .*a\.json and in .*b\.json"):
            read_annotations(paths)

    def test_of_other_classes_say_how_to_merge(self, save: Any) -> None:
        other = save(coco(categories=[{"id": 3, "name": "nucleus"}], images=[]), "b.json")
        with pytest.raises(DataError, match="write all classes into the categories of both"):
            read_annotations([save(coco()), other])

    def test_none_and_nonsense(self) -> None:
        for paths in ([], [3]):
            with pytest.raises(UsageError, match="no annotation files"):
                read_annotations(paths)  # type: ignore[arg-type]


class TestCheck:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        (tmp_path / "images").mkdir()
        cv2.imwrite(str(tmp_path / "images/a.png"), np.zeros((8, 10), np.uint8))
        return tmp_path / "images"

    def test_a_file_without_faults(self, save: Any, images: Path, capsys: Any) -> None:
        path = save(coco(annotation(1)))
        assert cellseg(["check", str(path), "--images", str(images)]) == 0
        assert capsys.readouterr().out == f"{path}: valid annotation file\n"

    def test_every_fault_is_listed(self, save: Any, images: Path, capsys: Any) -> None:
        missing = coco()["images"][0] | {"id": 6, "file_name": "b.png"}
        path = save(
            coco(
                annotation(1), annotation(2, segmentation=None), images=[*coco()["images"], missing]
            )
        )
        assert cellseg(["check", str(path), "--images", str(images)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines == [
            "annotation 2 of a.png: has no mask; a mask is an RLE or polygons, convert with masks",
            f"image {images}/b.png: there is no such file",
            f"{path}: not a valid annotation file, 2 faults",
        ]

    def test_images_of_another_size(self, save: Any, images: Path) -> None:
        image = coco()["images"][0] | {"height": 10, "width": 8}
        (fault,), _ = check_annotations(save(coco(images=[image])), images)
        assert str(fault).startswith(
            "image a.png: is annotated with (height, width) (10, 8), the file has (8, 10) pixels; sides exchanged"
        )


def test_converting_leaves_out_what_cannot_be_used(save: Any, tmp_path: Path, capsys: Any) -> None:
    path = save(coco(annotation(1), annotation(2, bbox="x")))
    arguments = ["convert", "mmdet-pickle", str(path), "--out", str(tmp_path / "out.pkl")]
    with pytest.raises(AnnotationError, match="annotation 2: bbox is 'x'"):
        cellseg(arguments)
    cellseg([*arguments, "--on-error", "skip"])
    assert "1 rejected rows" in capsys.readouterr().out
    assert "annotation 2: bbox is 'x' (text)" in (tmp_path / "rejected.csv").read_text()
    assert len(read_annotations(tmp_path / "out.pkl")[0].masks) == 1
