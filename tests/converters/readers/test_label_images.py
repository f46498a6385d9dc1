"""Label images: TIFF and PNG of every depth, two folders or Cellpose's one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.converters.readers.label_images import load_label_image, read_label_images
from cellseg_mmdet.converters.rejects import DataSetError
from cellseg_mmdet.errors import DataError

TOOL = Path(__file__).parents[3] / "tools/dataset_converters/label_images.py"


def label_map(*boxes: tuple[int, int, int, int], step: int = 1, dtype=np.uint16) -> np.ndarray:
    labels = np.zeros((8, 10), dtype)
    for number, (y1, x1, y2, x2) in enumerate(boxes, start=1):
        labels[y1:y2, x1:x2] = number * step
    return labels


BOXES = ((0, 0, 2, 2), (4, 5, 8, 10))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Cellpose's layout: images a.tif and b.tif, their masks, and its pictures of flows."""
    for name in "ab":
        Image.fromarray(np.full((8, 10), 100, np.uint8)).save(tmp_path / f"{name}.tif")
        Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(tmp_path / f"{name}_flows.tif")
    Image.fromarray(label_map(*BOXES)).save(tmp_path / "a_masks.tif")
    Image.fromarray(label_map()).save(tmp_path / "b_masks.png")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("8.png", label_map(*BOXES, dtype=np.uint8)),
        ("16.png", label_map(*BOXES, step=30_000)),
        ("16.tif", label_map(*BOXES, step=30_000)),
        ("32.tif", label_map(*BOXES, step=100_000, dtype=np.int32)),
        ("one.tif", label_map(BOXES[0])),
    ],
)
def test_every_depth(tmp_path: Path, name: str, labels: np.ndarray) -> None:
    Image.fromarray(labels).save(tmp_path / name)
    assert np.array_equal(load_label_image(tmp_path / name), labels)


def test_what_opencv_and_other_programs_write(tmp_path: Path) -> None:
    labels = label_map(*BOXES, step=30_000)
    assert cv2.imwrite(str(tmp_path / "lzw.tif"), labels)
    Image.fromarray(labels).save(tmp_path / "zip.tif", compression="tiff_adobe_deflate")
    for name in ("lzw.tif", "zip.tif"):
        assert np.array_equal(load_label_image(tmp_path / name), labels)


def test_indices_of_a_palette_are_the_labels(tmp_path: Path) -> None:
    labels = label_map(*BOXES, dtype=np.uint8)
    image = Image.fromarray(labels)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png")
    assert np.array_equal(load_label_image(tmp_path / "a.png"), labels)


def test_cellpose_layout(folder: Path) -> None:
    a, b = read_label_images(folder, folder, label_suffix="_masks").records
    assert (a.file_name, b.file_name) == ("a.tif", "b.tif")
    assert a.masks.boxes.tolist() == [[0, 0, 2, 2], [5, 4, 10, 8]]
    assert a.categories == ("cell", "cell")
    assert len(b.masks) == 0


def test_images_without_a_label_image_are_findings(folder: Path) -> None:
    def left_out() -> list[tuple[str, str]] | None:
        findings = read_label_images(folder, folder, label_suffix="_masks").findings
        return findings and [(Path(one.source).name, one.kind) for one in findings]

    kind = "image without labels"
    assert left_out() == [("a_flows.tif", kind), ("b_flows.tif", kind)]
    (folder / "b_masks.png").unlink()
    assert left_out() == [("a_flows.tif", kind), ("b.tif", kind), ("b_flows.tif", kind)]
    for name in ("a_flows.tif", "b_flows.tif", "b.tif"):
        (folder / name).unlink()
    assert left_out() is None


def test_hidden_files_are_not_read(folder: Path) -> None:
    for name in ("._a.tif", "._a_masks.tif", "._b.tif"):
        (folder / name).write_bytes(b"no image")
    assert len(read_label_images(folder, folder, label_suffix="_masks").records) == 2


def test_names_of_images_may_have_a_suffix_too(folder: Path) -> None:
    for name in "ab":
        (folder / f"{name}.tif").rename(folder / f"{name}_img.tif")
    records = read_label_images(
        folder, folder, label_suffix="_masks", image_suffix="_img", category="nucleus"
    ).records
    assert [record.file_name for record in records] == ["a_img.tif", "b_img.tif"]
    assert records[0].categories == ("nucleus", "nucleus")


def test_two_folders_of_the_same_names(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (folder / "a_masks.tif").rename(tmp_path / "labels/a.tif")
    command = [sys.executable, str(TOOL), "--labels", tmp_path / "labels", "--images", folder]
    command += ["--out", tmp_path / "cells.json"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    [record] = read_annotations(tmp_path / "cells.json")
    assert (record.file_name, record.masks.areas.tolist()) == ("a.tif", [4, 20])


def test_every_bad_file_is_named(folder: Path) -> None:
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "b_masks.png")
    Image.fromarray(label_map(*BOXES)).save(folder / "lost_masks.png")
    with pytest.raises(DataSetError) as error:
        read_label_images(folder, folder, label_suffix="_masks")
    causes = {Path(reject.source).name: reject.cause for reject in error.value.rejected}
    assert causes == {
        "b_masks.png": "label map of 3 x 3 pixels for an image of 8 x 10",
        "lost_masks.png": f"no image file lost in {folder}",
    }


class TestUnusable:
    def write(self, path: Path, pixels: np.ndarray, **options) -> Path:
        Image.fromarray(pixels).save(path, **options)
        return path

    def test_several_pages(self, tmp_path: Path) -> None:
        page = Image.fromarray(label_map(*BOXES))
        page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
        with pytest.raises(DataError, match="holds 3 pages"):
            load_label_image(tmp_path / "a.tif")

    @pytest.mark.parametrize(
        "pixels", [np.zeros((8, 10, 3), np.uint8), np.zeros((8, 10), np.float32)]
    )
    def test_colors_and_fractions(self, tmp_path: Path, pixels: np.ndarray) -> None:
        path = self.write(tmp_path / "a.tif", pixels)
        with pytest.raises(DataError, match="one channel of integers"):
            load_label_image(path)

    @pytest.mark.parametrize("dtype", [bool, np.uint8])
    def test_foreground_only(self, tmp_path: Path, dtype: type) -> None:
        foreground = label_map(*BOXES) > 0
        pixels = foreground if dtype is bool else foreground.astype(np.uint8) * 255
        with pytest.raises(DataError, match="only background and foreground"):
            load_label_image(self.write(tmp_path / "a.png", pixels))

    def test_jpeg_does_not_keep_numbers(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.jpg", label_map(*BOXES, dtype=np.uint8))
        with pytest.raises(DataError, match="JPEG does not keep numbers"):
            load_label_image(path)

    def test_no_image(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(b"no image")
        with pytest.raises(DataError, match="not an image that can be read"):
            load_label_image(tmp_path / "a.tif")


def test_pickled_masks_are_refused_and_what_to_do_is_said(folder: Path) -> None:
    for path in folder.glob("*_masks.*"):
        path.unlink()
    with pytest.raises(DataError, match=r"no label image \*_masks in .*tiff, .jpg"):
        read_label_images(folder, folder, label_suffix="_masks")
    (folder / "a_seg.npy").write_bytes(b"")
    with pytest.raises(DataError, match="save the masks as PNG or TIFF"):
        read_label_images(folder, folder, label_suffix="_masks")


def test_images_and_labels_must_be_told_apart(folder: Path) -> None:
    with pytest.raises(DataError, match="label suffix"):
        read_label_images(folder, folder)
    Image.fromarray(label_map(*BOXES)).save(folder / "a_masks.png")
    with pytest.raises(DataError, match="share the name 'a_masks'"):
        read_label_images(folder, folder, label_suffix="_masks")
