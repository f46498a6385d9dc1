"""`tools/models/pictures.py`: which images a card shows, and their files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from tools.models.pictures import Shown, extremes, pictures_in, stretched, write_pictures


def shown(name: str, score: float, cells: int = 5, group: str | None = None) -> Shown:
    labels = np.zeros((20, 60), np.int32)
    for number in range(cells):
        labels[4:12, 10 * number + 1 : 10 * number + 8] = number + 1
    masks = Runs.from_label_map(labels)
    record = ImageRecord(f"{name}.png", 20, 60, masks, ("cell",) * cells, group=group)
    return Shown(record, masks[1:], score, "fluorescence")


def names(chosen: list[Shown]) -> str:
    return "".join(Path(one.record.file_name).stem for one in chosen)


@pytest.mark.parametrize(
    ("images", "count", "best", "worst"),
    [
        ([], 3, "", ""),
        ([shown("a", 0.5)], 3, "a", ""),
        ([shown("a", 0.2), shown("b", 0.9), shown("c", 0.5)], 1, "b", "a"),
        ([shown("a", 0.2), shown("b", 0.9), shown("c", 0.5)], 3, "bc", "a"),
        ([shown("a", 1.0, cells=1), shown("b", 0.9), shown("c", 0.5)], 1, "b", "c"),
        ([shown("a", 1.0, cells=1), shown("b", 0.0, cells=0)], 1, "a", "b"),
        (
            [
                shown("a", 0.9, group="x"),
                shown("b", 0.8, group="x"),
                shown("c", 0.7),
                shown("d", 0.1),
            ],
            2,
            "ac",
            "db",
        ),
    ],
    ids=["none", "one", "one each", "in no two", "few cells", "only few cells", "groups"],
)
def test_the_best_and_the_worst(images: list[Shown], count: int, best: str, worst: str) -> None:
    assert tuple(map(names, extremes(images, count))) == (best, worst)


def test_files_of_an_earlier_call_go(tmp_path: Path) -> None:
    images = [shown(name, score) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.1))]
    for name in "abc":
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((20, 60, 3), 90, np.uint8))
    folder = tmp_path / "model"
    assert [one.file for one in write_pictures(images, tmp_path, folder, 3)] == [
        "best_1.jpg", "best_2.jpg", "worst_1.jpg",
    ]  # fmt: skip
    written = write_pictures(images, tmp_path, folder, 1)
    assert [path.name for path in pictures_in(folder)] == [one.file for one in written]
    assert "4 of 5 cells found, 1 missed" in written[0].caption
    assert cv2.imread(str(folder / "best_1.jpg")) is not None


def test_dark_pictures_are_stretched_and_others_are_not() -> None:
    dark = np.tile(np.arange(10, 40, dtype=np.uint8), (30, 1))[..., None].repeat(3, axis=2)
    assert stretched(dark).min() == 0 and stretched(dark).max() >= 254
    bright = np.tile(np.arange(0, 200, dtype=np.uint8), (30, 1))
    assert stretched(bright) is bright
    assert not stretched(np.zeros((4, 4), np.uint8)).any()
