from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.export import (
    check_submission,
    to_coco_results,
    write_coco_results,
    write_submission,
)
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

# Rows:     1  2  3  4          Columns:  1  3  5  7
#           5  6  7  8                    2  4  6  8
LEFT = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
RIGHT = np.array([[0, 1, 1, 0], [0, 0, 1, 0]])  # shares one pixel with LEFT


def prediction(
    image_id: str, *bitmaps: np.ndarray, scores: tuple[float, ...] = (), img_id: int | None = None
) -> ImagePrediction:
    parts = [Runs.from_label_map(bitmap) for bitmap in bitmaps]
    masks = Runs.concatenate([Runs.empty(2, 4), *parts])
    return ImagePrediction(
        image_id=image_id,
        img_id=img_id,
        height=2,
        width=4,
        boxes=masks.boxes + 0.25,
        scores=np.array(scores, dtype=np.float32),
        labels=np.arange(len(masks)),
        masks=masks,
    )


@pytest.mark.parametrize(
    ("format", "lines"),
    [
        ("sartorius", ["id,predicted", "b,2 2 7 1", "b,1 1 5 1", "a,"]),
        ("dsb2018", ["ImageId,EncodedPixels", "b,3 1 5 2", "b,1 2", "a,"]),
    ],
)
def test_what_is_written(tmp_path: Path, format: str, lines: list[str]) -> None:
    path = tmp_path / "out" / "submission.csv"
    summary = write_submission(
        path, [prediction("b", LEFT, RIGHT, scores=(0.25, 0.75)), prediction("a")], format
    )
    assert path.read_bytes().decode() == "".join(f"{line}\n" for line in lines)
    assert str(summary) == "2 images, 2 cells, 1 images without cells"
    assert summary.num_pixels_removed == 1


def test_masks_without_a_pixel_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    covered = prediction("a", LEFT, LEFT, scores=(0.5, 0.9))
    assert write_submission(path, [covered], "sartorius").num_cells == 1
    assert path.read_text() == "id,predicted\na,1 2 5 1\n"


def test_names_are_quoted_where_csv_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_submission(path, [prediction("a,b")], "sartorius")
    assert path.read_text() == 'id,predicted\n"a,b",\n'


def test_an_image_that_comes_twice_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text("before")
    with pytest.raises(DataError, match="image 'a' comes twice"):
        write_submission(path, [prediction("a"), prediction("a")], "sartorius")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'tiff'; there are dsb2018, sartorius"):
        write_submission(tmp_path / "s.csv", [], "tiff")
    with pytest.raises(ConfigError, match="'tiff'; there are dsb2018, sartorius"):
        check_submission(tmp_path / "s.csv", tmp_path, "tiff")


def test_coco_results(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    predictions = [
        prediction("a", LEFT, RIGHT, scores=(0.25, 0.75), img_id=4),
        prediction("b", RIGHT, scores=(0.5,)),
        prediction("c", img_id=5),
    ]
    assert write_coco_results(path, predictions) == 3
    first, second, third = json.loads(path.read_text())
    assert Runs.from_coco([first.pop("segmentation")]).to_label_map().tolist() == LEFT.tolist()
    assert first == {
        "image_id": 4,
        "category_id": 1,
        "score": 0.25,
        "bbox": [0.25, 0.25, 2, 2],
        "cell_id": 1,
    }
    assert (second["category_id"], second["bbox"]) == (2, [1.25, 0.25, 2, 2])
    assert third["image_id"] == "b"


def test_coco_results_with_the_ids_of_an_annotation_file() -> None:
    results = to_coco_results([prediction("a", LEFT, RIGHT, scores=(1, 1))], category_ids=[7, 3])
    assert [result["category_id"] for result in results] == [7, 3]
