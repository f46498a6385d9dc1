from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.visualization.draw.pictures import find_picture, read_picture, write_picture


def record(name: str) -> ImageRecord:
    return ImageRecord(name, 10, 10, Runs.empty(10, 10), ())


def test_picture_is_written_as_its_suffix_says(tmp_path: Path) -> None:
    picture = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    write_picture(tmp_path / "new" / "a.png", picture)
    assert (cv2.imread(str(tmp_path / "new" / "a.png")) == picture).all()
    assert (read_picture(tmp_path / "new", record("a.png")) == picture).all()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.png", "a.png"),
        ("in/a.png", "in/a.png"),
        ("a.TIF", "a.png"),
        ("a/images/a.png", "a.png"),
        ("a[1].png", "a[1].png"),
        ("a[1].tif", "a[1].png"),
    ],
)
def test_images_are_found_by_file_name_or_by_name_alone(
    tmp_path: Path, file: str, name: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert find_picture(tmp_path, record(name)) == tmp_path / file


def test_other_files_of_that_name_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert find_picture(tmp_path, record("a.png")) is None
    with pytest.raises(FileNotFoundError, match=r"has no image a\.png"):
        read_picture(tmp_path, record("a.png"))
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ImageError, match=r"a\.png: is of no format that is read"):
        read_picture(tmp_path, record("a.png"))
