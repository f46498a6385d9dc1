from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.annotations.files import read_annotations, write_annotations
from cellseg_mmdet.converters.readers.npz_masks import load_label_map, read_labels, read_npz_masks
from cellseg_mmdet.converters.rejects import DataSetError
from cellseg_mmdet.errors import DataError


def label_map(competition, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros((competition.height, competition.width), np.uint16)
    for index, (y1, x1, y2, x2) in enumerate(boxes, start=1):
        labels[y1:y2, x1:x2] = 7 * index
    return labels


@pytest.fixture
def masks_dir(competition):
    folder = competition.root / "masks"
    folder.mkdir()
    np.savez(folder / "a.npz", label_map(competition, (0, 0, 2, 2), (4, 5, 8, 10)))
    np.savez(folder / "b.npz", only=label_map(competition))
    competition.add("a").add("b")
    return folder


def test_one_class_for_all(competition, masks_dir) -> None:
    first, second = read_npz_masks(masks_dir, competition.images).records
    assert first.masks.boxes.tolist() == [[0, 0, 2, 2], [5, 4, 10, 8]]
    assert first.categories == ("cell", "cell")
    assert len(second.masks) == 0


def test_classes_from_a_csv(competition, masks_dir) -> None:
    labels = competition.root / "labels.csv"
    labels.write_text("id,cell_type\na,astro\na,astro\nb,cort\n")
    records = read_npz_masks(masks_dir, competition.images, labels=read_labels(labels)).records
    assert [record.cell_type for record in records] == ["astro", "cort"]
    assert records[0].categories == ("astro", "astro")


@pytest.mark.parametrize("name", ["cells.json", "cells.pkl"])
def test_written_and_read_again(competition, masks_dir, name: str) -> None:
    records = read_npz_masks(masks_dir, competition.images).records
    write_annotations(competition.root / name, records)
    for before, after in zip(records, read_annotations(competition.root / name), strict=True):
        assert before.masks == after.masks
        assert (before.file_name, before.categories) == (after.file_name, after.categories)


def test_every_bad_file_is_named(competition, masks_dir) -> None:
    np.savez(masks_dir / "c.npz", np.zeros((3, 3), np.uint8))
    competition.add("c")
    np.savez(masks_dir / "d.npz", np.ones((8, 10), np.uint8))
    np.savez(masks_dir / "e.npz", x=np.zeros(1), y=np.zeros(1))
    (masks_dir / "f.npz").write_bytes(b"PK\x03\x04 cut off")
    np.savez(masks_dir / "g.npz", np.zeros((8, 10), np.float32))
    np.savez(masks_dir / "h.npz", np.zeros((8, 10), np.uint8))
    for image_id in "efgh":
        competition.add(image_id)
    with pytest.raises(DataSetError) as error:
        read_npz_masks(masks_dir, competition.images, labels=dict.fromkeys("abcdefg", "cell"))
    causes = {reject.image_id: reject.cause for reject in error.value.rejected}
    assert list(causes) == list("cdefgh")
    for image_id, cause in {
        "c": "label map of 3 x 3 pixels for an image of 8 x 10",
        "d": "no image file d",
        "e": "found ['x', 'y']",
        "f": "f.npz",
        "g": "float32",
        "h": "no row for this image",
    }.items():
        assert cause in causes[image_id]
    kept = read_npz_masks(masks_dir, competition.images, on_error="skip")
    assert [record.file_name for record in kept.records] == ["a.png", "b.png", "h.png"]


def test_a_folder_without_masks(competition) -> None:
    competition.add("a")
    with pytest.raises(DataError, match=r"no \.npz file"):
        read_npz_masks(competition.root, competition.images)


def test_pickled_objects_are_not_loaded(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", np.array([{"no": "array"}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz"):
        load_label_map(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,kind\na,astro\n", "cell_type missing"),
        ("id,cell_type\na,\n", "row 2"),
        (
            "id,cell_type\na,astro\nb,cort\na,cort\n",
            "row 4: image a is 'cort' here and 'astro' above",
        ),
    ],
)
def test_labels_that_are_wrong(tmp_path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.csv")
