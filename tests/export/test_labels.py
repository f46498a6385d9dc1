"""Writers of label images: OME-TIFF and npz."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.measure import regionprops

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.evaluation.sources import read_predictions
from cellseg_mmdet.export.label_maps import OVERLAPS, label_map
from cellseg_mmdet.images import open_image
from cellseg_mmdet.masks import Runs, division, runs
from cellseg_mmdet.postprocess import RemoveOverlaps
from tests.export.scenes import CLASSES, PIXEL_SIZE_UM, painted, prediction, write


def test_pixels_have_the_numbers_of_their_cells(tmp_path: Path) -> None:
    written = write("label-tiff", tmp_path, prediction())
    labels = tifffile.imread(tmp_path / "labels/a.tif")
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels, painted())
    assert written.files == {
        tmp_path
        / "labels": "1 label image; 4 pixels that cells share went to the one with the higher score"
    }
    assert {cell.label for cell in regionprops(labels.astype(int))} == {1, 2, 3, 5}


def test_ome_tiff_says_the_size_of_a_pixel(tmp_path: Path) -> None:
    write("label-tiff", tmp_path, prediction())
    with tifffile.TiffFile(tmp_path / "labels/a.tif") as file:
        assert file.is_ome
        assert 'Type="uint32"' in file.ome_metadata and 'Name="a"' in file.ome_metadata
    with open_image(tmp_path / "labels/a.tif") as source:
        assert source.pixel_size_um == pytest.approx(PIXEL_SIZE_UM)


def test_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, file in (("label-tiff", "labels/a.tif"), ("npz", "npz/a.npz")):
        for folder in ("one", "two"):
            write(name, tmp_path / folder, prediction())
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_label_images_are_read_as_predictions(tmp_path: Path) -> None:
    write("label-tiff", tmp_path, prediction(), prediction("b"))
    found = read_predictions(tmp_path / "labels")
    assert [one.image_id for one in found] == ["a", "b"]
    np.testing.assert_array_equal(found[0].masks.to_label_map() > 0, painted() > 0)


@pytest.mark.parametrize("overlaps", OVERLAPS)
def test_shared_pixels_go_where_remove_overlaps_gives_them(
    overlaps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(division, "_AT_ONCE", 20)
    monkeypatch.setattr(division, "_LONGEST_PIECE_PX", 3)
    monkeypatch.setattr(runs, "_MAX_PIXELS", 20)
    random = np.random.default_rng(0)
    found = prediction()
    for _ in range(5):
        one = found.select(random.permutation(len(found)))
        labels = label_map(one, overlaps)
        final = RemoveOverlaps(give_to=overlaps)(one)
        assert Runs.from_label_map(labels.astype(np.int64)) == final.masks
        kept = np.unique(labels[labels > 0])
        np.testing.assert_array_equal(one.scores[kept - 1], final.scores)


def test_cells_that_lose_all_are_counted(tmp_path: Path) -> None:
    below = prediction().select(np.array([0, 0, 1]))
    written = write("npz", tmp_path, below, overlaps="larger")
    assert written.files == {
        tmp_path
        / "npz": "1 archive; 16 pixels that cells share went to the larger one, which left 1 cell without any"
    }
    with pytest.raises(ConfigError, match="overlaps='luck': must be one of 'score'"):
        write("npz", tmp_path, below, overlaps="luck")


def test_archives_hold_all_of_a_prediction(tmp_path: Path) -> None:
    found = prediction()
    write("npz", tmp_path, found)
    with np.load(tmp_path / "npz/a.npz", allow_pickle=False) as content:
        arrays = dict(content)
        assert all(entry.compress_type == zipfile.ZIP_DEFLATED for entry in content.zip.infolist())
    np.testing.assert_array_equal(arrays["labels"], painted())
    assert arrays["cell_ids"].tolist() == [1, 2, 3, 4, 5]
    assert arrays["scores"].tolist() == found.scores.tolist()
    assert arrays["classes"][arrays["class_ids"]].tolist() == [CLASSES[i] for i in found.labels]
    assert arrays["pixel_size_um"].tolist() == list(PIXEL_SIZE_UM)
    masks = Runs(arrays["starts"], arrays["lengths"], arrays["offsets"], found.height, found.width)
    assert masks == found.masks
    np.testing.assert_array_equal(arrays["boxes_xyxy"], found.masks.boxes)


def test_no_cells_at_all(tmp_path: Path) -> None:
    none = prediction().select(np.zeros(0, int))
    for name in ("label-tiff", "npz"):
        write(name, tmp_path, none)
    assert not tifffile.imread(tmp_path / "labels/a.tif").any()
    with np.load(tmp_path / "npz/a.npz") as content:
        assert not content["labels"].any() and not len(content["scores"])
