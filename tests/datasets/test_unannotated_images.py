"""`CellDataset` on a folder of images that nobody annotated, as the competition's test images are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

import cellseg_mmdet.datasets  # noqa: F401  registers CellDataset
from cellseg_mmdet.errors import UsageError

CLASSES = ("astro", "cort", "shsy5y")
PIPELINE = [
    {"type": "LoadCellImage"},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "cell_type")},
]


@pytest.fixture(scope="module", autouse=True)
def mmdet_scope():
    init_default_scope("mmdet")


def build(root, **options):
    settings = {
        "type": "CellDataset",
        "data_root": str(root),
        "ann_file": "",
        "data_prefix": {"img": "test/"},
        "metainfo": {"classes": CLASSES},
        "test_mode": True,
        "pipeline": PIPELINE,
    }
    return DATASETS.build({**settings, **options})


def test_images_are_listed_by_name(tmp_path):
    folder = tmp_path / "test"
    folder.mkdir()
    sizes = {"b.png": (4, 6), "a.tif": (8, 5), "c.jpg": (3, 3)}
    for name, (height, width) in sizes.items():
        cv2.imwrite(str(folder / name), np.zeros((height, width), np.uint8))
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.png").write_bytes(b"what macOS leaves on other systems' disks")
    dataset = build(tmp_path)
    infos = [dataset.get_data_info(number) for number in range(len(dataset))]
    assert [(i["img_id"], i["img_path"], i["height"], i["width"]) for i in infos] == [
        (1, str(folder / "a.tif"), 8, 5),
        (2, str(folder / "b.png"), 4, 6),
        (3, str(folder / "c.jpg"), 3, 3),
    ]
    sample = dataset[0]["data_samples"]
    assert (sample.img_id, sample.ori_shape, sample.cell_type) == (1, (8, 5), None)
    assert dataset.metainfo["classes"] == CLASSES


def test_a_single_class_serves_as_well(tmp_path):
    (tmp_path / "test").mkdir()
    cv2.imwrite(str(tmp_path / "test" / "a.png"), np.zeros((4, 4), np.uint8))
    dataset = build(tmp_path, metainfo=None, single_class="cell")
    assert dataset.metainfo["classes"] == ("cell",)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(NotADirectoryError, match="test"):
        build(tmp_path)
    (tmp_path / "test").mkdir()
    with pytest.raises(UsageError, match="no image in it"):
        build(tmp_path)
