from __future__ import annotations

import numpy as np
import pytest
from mmdet.datasets.transforms import LoadAnnotations

from cellseg_mmdet.datasets.transforms import RandomCropFirst
from cellseg_mmdet.masks import Runs

HEIGHT, WIDTH = 40, 60


def results(label_map: np.ndarray) -> dict:
    masks = Runs.from_label_map(label_map)
    rows = zip(masks.to_coco(text=True), masks.boxes.tolist(), strict=True)
    return {
        "img": label_map.astype(np.uint8)[..., None].repeat(3, axis=2),
        "img_path": "image.png",
        "img_shape": label_map.shape,
        "ori_shape": label_map.shape,
        "height": HEIGHT,
        "width": WIDTH,
        "instances": [
            {"bbox": box, "bbox_label": 2, "ignore_flag": 0, "mask": rle} for rle, box in rows
        ],
    }


@pytest.fixture
def label_map() -> np.ndarray:
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[3:9, 4:20] = 1
    labels[9:30, 15:22] = 2
    labels[25:39, 40:60] = 3
    return labels


@pytest.mark.parametrize("seed", range(8))
def test_image_and_masks_are_cut_alike(label_map: np.ndarray, seed: int) -> None:
    np.random.seed(seed)
    out = RandomCropFirst((16, 24), min_area_px=4).transform(results(label_map))
    out = LoadAnnotations(with_bbox=True, with_mask=True)(out)
    seen = out["img"][..., 0]  # the image holds the ids
    assert seen.shape == (16, 24) == out["img_shape"]
    expected = [seen == index for index in np.unique(seen) if index and (seen == index).sum() >= 4]
    assert np.array_equal(out["gt_masks"].masks.astype(bool), np.array(expected))
    assert out["gt_bboxes"].tensor.tolist() == out["gt_masks"].get_bboxes("hbox").tensor.tolist()
    assert set(out["gt_bboxes_labels"]) == {2}


def test_a_window_with_a_cell_is_looked_for() -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[20:25, 30:35] = 1
    np.random.seed(0)
    found = [
        len(RandomCropFirst((20, 20), num_tries=50).transform(results(labels))["instances"])
        for _ in range(20)
    ]
    assert min(found) == 1


def test_an_image_without_cells_is_cropped_all_the_same() -> None:
    out = RandomCropFirst((20, 30)).transform(results(np.zeros((HEIGHT, WIDTH), np.int32)))
    assert out["img"].shape[:2] == (20, 30)
    assert out["instances"] == []


def test_a_small_image_is_kept_whole(label_map: np.ndarray) -> None:
    out = RandomCropFirst((500, 30), min_area_px=1).transform(results(label_map))
    assert out["img"].shape[:2] == (HEIGHT, 30)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="crop_size_hw"):
        RandomCropFirst((0, 5))
