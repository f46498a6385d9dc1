"""`CellDataset` before the first batch: image files against annotations, several files, and what the log says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS, METRICS
from mmengine.registry import init_default_scope

import cellseg_mmdet.datasets
import cellseg_mmdet.engine  # noqa: F401  registers what is built here
from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.datasets import cell_dataset
from cellseg_mmdet.errors import ConfigError, DataError, UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

LABELS = np.zeros((20, 30), np.int64)
LABELS[2:9, 3:9], LABELS[12:18, 20:28] = 1, 2
MASKS = Runs.from_label_map(LABELS)
PIPELINE = [
    {"type": "LoadCellImage"},
    {"type": "LoadRoIAnnotations", "with_mask": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape")},
]


@pytest.fixture(scope="module", autouse=True)
def mmdet_scope() -> None:
    init_default_scope("mmdet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((20, 30), np.uint8))
        write_annotations(
            tmp_path / f"{name}.json",
            [ImageRecord(f"{name}.png", 20, 30, MASKS, ("cort", "astro"))],
        )
    return tmp_path


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(cell_dataset, "print_log", lambda text, *_: said.append(text))
    return said


def build(root: Path, **options: Any) -> Any:
    settings = {"type": "CellDataset", "data_root": str(root), "ann_file": "a.json"}
    return DATASETS.build(settings | {"pipeline": PIPELINE} | options)


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_image_of_another_size_ends_it_before_the_first_batch(root: Path, log: list) -> None:
    cv2.imwrite(str(root / "a.png"), np.zeros((30, 20), np.uint8))
    with pytest.raises(
        DataError, match=r"a\.json: image a\.png: .*\(20, 30\), .* \(30, 20\).*EXIF"
    ):
        build(root)
    both = build(root, ann_file=["a.json", "b.json"], on_error="skip")
    assert [Path(both[index]["data_samples"].img_path).name for index in range(len(both))] == [
        "b.png"
    ]
    assert "entries left out that cannot be used: 1 (1 image file of another size)" in log[0]


def test_an_image_that_cannot_be_read(root: Path) -> None:
    (root / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"image a\.png: .*a\.png: is of no format"):
        build(root)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_mask_that_cannot_be_read_is_found_before_the_first_batch(
    root: Path, on_error: str
) -> None:
    def cut(content: Any) -> None:
        content["annotations"][0]["segmentation"]["counts"] = "5"

    edit(root / "a.json", cut)
    if on_error == "stop":
        with pytest.raises(DataError, match=r"annotation 1 of a\.png: its mask: RLE counts add up"):
            build(root)
    else:
        dataset = build(root, on_error="skip")
        assert len(dataset[0]["data_samples"].gt_instances) == 1


def test_cells_outside_the_image_are_no_positives(root: Path, log: list) -> None:
    def move(content: Any) -> None:
        content["annotations"][0]["segmentation"] = [[50, 50, 60, 50, 60, 60]]

    edit(root / "a.json", move)
    sample = build(root)[0]["data_samples"]
    assert len(sample.gt_instances) == 1 and len(sample.ignored_instances) == 0
    assert log[0].endswith("annotations left out: 1 (1 without a pixel in the image)")


def test_where_nothing_is_left_the_error_says_why(root: Path) -> None:
    edit(root / "a.json", lambda c: [a.update(iscrowd=1) for a in c["annotations"]])
    with pytest.raises(UsageError, match=r"no instance is left(.|\n)*2 of 2 .*set iscrowd to 0"):
        build(root)


def test_classes_without_an_instance_are_said(root: Path, log: list) -> None:
    edit(root / "a.json", lambda c: c["categories"].append({"id": 9, "name": "shsy5y"}))
    build(root)
    assert log == [f"{root}/a.json: no instance is of the class shsy5y"]
    build(root, test_mode=True)
    assert len(log) == 1


def test_one_class_as_a_text(root: Path) -> None:
    dataset = build(root, metainfo={"classes": "cell"}, single_class="cell")
    assert dataset.metainfo["classes"] == ("cell",)


def test_an_unknown_policy(root: Path) -> None:
    with pytest.raises(ConfigError, match="on_error is 'ignore'; allowed are stop, skip"):
        build(root, on_error="ignore")


class TestSeveralFiles:
    def test_are_one_data_set(self, root: Path) -> None:
        dataset = build(root, ann_file=["a.json", str(root / "b.json")])
        assert [dataset.get_data_info(n)["img_id"] for n in range(2)] == [1, 2]
        assert dataset.get_cat_ids(1) == [1, 0]

    def test_with_the_classes_in_another_order(self, root: Path) -> None:
        def swap(content: Any) -> None:
            first, second = content["categories"]
            first["name"], second["name"] = second["name"], first["name"]

        edit(root / "b.json", swap)
        dataset = build(root, ann_file=["a.json", "b.json"])
        assert [dataset.get_cat_ids(n) for n in range(2)] == [[1, 0], [0, 1]]

    def test_one_that_is_missing_is_named(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"c\.json: no such annotation file"):
            build(root, ann_file=["a.json", "c.json"])

    def test_joined_data_sets_are_scored_by_the_same_list(self, root: Path) -> None:
        parts = [
            {"type": "CellDataset", "data_root": str(root), "ann_file": name, "pipeline": PIPELINE}
            | {"test_mode": True}
            for name in ("a.json", "b.json")
        ]
        joined = DATASETS.build({"type": "ConcatDataset", "datasets": parts})
        both = [str(root / "a.json"), str(root / "b.json")]
        metric = METRICS.build({"type": "CellMetric", "ann_file": both})
        metric.dataset_meta = joined.metainfo
        metric.process({}, [perfect(joined[n]["data_samples"]) for n in range(2)])
        assert metric.evaluate(2)["cell/kaggle_map"] == 1
        alone = METRICS.build({"type": "CellMetric", "ann_file": both[0]})
        alone.dataset_meta = joined.metainfo
        with pytest.raises(DataError, match=r"'b' is not in .*ann_file=\['a\.json', 'b\.json'\]"):
            alone.process({}, [perfect(joined[1]["data_samples"])])


def perfect(sample: Any) -> dict[str, Any]:
    cells = sample.gt_instances
    found = {
        "bboxes": cells.bboxes.tensor,
        "labels": cells.labels,
        "scores": np.ones(len(cells)),
        "masks": MASKS.to_coco(),
    }
    return {"img_path": sample.img_path, "ori_shape": (20, 30), "pred_instances": found}
