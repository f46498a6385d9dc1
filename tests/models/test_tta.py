"""Views of an image merge to what is in the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import cellseg_mmdet.datasets  # noqa: F401  registers RandomRotate90
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.models import CellTTAModel, RoIFCNMaskHead
from cellseg_mmdet.models.tta import in_image
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry

CONFIG = Path(__file__).parents[2] / "configs/_base_/parts/cell_data.py"
HEIGHT, WIDTH = 60, 90
SIDE = 14  # rows and columns of a predicted mask
HEAD = dict(num_convs=0, in_channels=1, conv_out_channels=1, num_classes=2)


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> None:
    init_default_scope("mmdet")


class Finder(torch.nn.Module):
    """A detector that finds what is bright, and is as sure of it as it is large: the same from all sides."""

    def __init__(self, head_type: type = RoIFCNMaskHead, **options: Any) -> None:
        super().__init__()
        self.head = head_type(**HEAD, **options)
        # Resized masks are exactly one half in places, where rounding would decide.
        self.test_cfg = ConfigDict(rcnn=dict(max_per_img=100, mask_thr_binary=0.45))

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        samples = data["data_samples"]
        found = [self._find(image[0].numpy()) for image in data["inputs"]]
        results = self.head.predict_by_feat(
            [masks for _, masks in found],
            [instances for instances, _ in found],
            [sample.metainfo for sample in samples],
            self.test_cfg.rcnn,
            rescale=True,
            activate_map=True,
        )
        for sample, instances in zip(samples, results, strict=True):
            sample.pred_instances = instances
        return samples

    def _find(self, pixels: np.ndarray) -> tuple[InstanceData, torch.Tensor]:
        count, components = cv2.connectedComponents((pixels > 75).astype(np.uint8), connectivity=4)
        boxes, labels, scores = [], [], []
        masks = torch.zeros(count - 1, HEAD["num_classes"], SIDE, SIDE)
        for i in range(count - 1):
            cell = components == i + 1
            y, x = np.nonzero(cell)
            box = x.min(), y.min(), x.max() + 1, y.max() + 1
            boxes.append(box)
            labels.append(int(np.median(pixels[cell]) > 200))
            scores.append(0.5 + cell.mean())
            bitmap = torch.from_numpy(cell[box[1] : box[3], box[0] : box[2]]).float()[None, None]
            masks[i, labels[-1]] = F.interpolate(bitmap, (SIDE, SIDE), mode="bilinear")[0, 0]
        instances = InstanceData(
            bboxes=torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32),
            scores=torch.tensor(scores, dtype=torch.float32),
            labels=torch.tensor(labels, dtype=torch.int64),
        )
        return instances, masks


def draw(seed: int = 0) -> np.ndarray:
    """Draw four bent cells of two classes, well apart."""
    random = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, (x, y) in enumerate([(4, 5), (50, 3), (7, 35), (55, 33)]):
        length, breadth = random.integers(12, 22, 2), random.integers(4, 9, 2)
        gray = 150 if number % 2 else 250
        image[y : y + length[0], x : x + breadth[0]] = gray
        image[y : y + breadth[1], x : x + length[1]] = gray
    return image


def sides() -> list[list[dict[str, Any]]]:
    """Return flips, turns and what packs the view, as they are shipped."""
    return Config.fromfile(CONFIG).to_dict()["views"]["transforms"]


def pipeline(
    scales: Sequence[float] = (1.0,), flips: slice = np.s_[:], turns: slice = np.s_[:]
) -> Compose:
    flip, turn, pack = sides()
    resize = [dict(type="Resize", scale_factor=scale) for scale in scales]
    views = [resize, flip[flips], turn[turns], pack]
    load = dict(type="mmdet.LoadImageFromNDArray")
    return Compose([load, dict(type="TestTimeAug", transforms=views)])


def plain(images: Sequence[np.ndarray]) -> list[ImagePrediction]:
    """Return what is found without augmentation."""
    resize = dict(type="Resize", scale_factor=1.0)
    load = dict(type="mmdet.LoadImageFromNDArray")
    steps = Compose([load, resize, *sides()[2]])
    found = Finder().test_step(pseudo_collate([steps({"img": image}) for image in images]))
    return [sorted_prediction(sample) for sample in found]


def augmented(
    images: Sequence[np.ndarray], steps: Compose, finder: Finder | None = None
) -> list[DetDataSample]:
    model = CellTTAModel(module=finder or Finder())
    return model.test_step(pseudo_collate([steps({"img": image}) for image in images]))


def sorted_prediction(sample: DetDataSample) -> ImagePrediction:
    prediction = from_dump_entry(sample.to_dict() | {"img_path": "image.png"})
    return prediction.select(prediction.by_descending_score())


def assert_same(found: ImagePrediction, expected: ImagePrediction) -> None:
    assert len(expected) == 4
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.mask_scores, expected.mask_scores, atol=1e-5)
    assert found.masks == expected.masks


@pytest.mark.parametrize(
    ("flips", "turns"),
    [
        (np.s_[:1], np.s_[:1]),
        (np.s_[1:], np.s_[:1]),
        (np.s_[:], np.s_[:1]),
        (np.s_[:1], np.s_[1:2]),
        (np.s_[:1], np.s_[3:]),
        (np.s_[:], np.s_[:]),
    ],
    ids=["the image itself", "flipped", "both", "turned", "turned back", "all eight sides"],
)
def test_a_symmetric_model_finds_the_same(flips: slice, turns: slice) -> None:
    images = [draw(0), draw(1)]

    found = augmented(images, pipeline([1.0], flips, turns))

    for sample, expected in zip(found, plain(images), strict=True):
        assert_same(sorted_prediction(sample), expected)


def test_views_of_several_scales_agree_within_a_pixel() -> None:
    image = draw()

    (sample,) = augmented([image], pipeline([1.0, 1.5, 2.3], turns=np.s_[::3]))

    found, (expected,) = sorted_prediction(sample), plain([image])
    order = [np.abs(found.boxes - box).max(axis=1).argmin() for box in expected.boxes]
    found = found.select(np.array(order))
    assert len(found) == len(expected) == 4
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)
    np.testing.assert_array_equal(found.labels, expected.labels)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for i in range(4):
        cell, truth = (
            prediction.masks[i : i + 1].to_label_map().astype(np.uint8)
            for prediction in (found, expected)
        )
        assert not (cv2.erode(truth, cross) & ~cell).any()
        assert not (cell & ~cv2.dilate(truth, cross)).any()


def test_a_batch_with_an_empty_image() -> None:
    images = [draw(), np.zeros_like(draw())]

    found, nothing = augmented(images, pipeline(), Finder(soft_masks=True))

    assert_same(sorted_prediction(found), plain(images[:1])[0])
    assert nothing.pred_instances.masks.shape == (0, HEIGHT, WIDTH)
    assert {len(value) for value in nothing.pred_instances.values()} == {0}


def test_views_without_boxes_never_reach_the_mask_head() -> None:
    nothing = InstanceData(
        bboxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.int64),
        masks=torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool),  # as mmdet has it
    )

    merged = merge([nothing, nothing])

    assert merged.masks.shape == (0, HEIGHT, WIDTH)
    assert {len(merged[key]) for key in ("bboxes", "scores", "labels", "maskness")} == {0}


# ---------------------------------------------------------------- merging by hand


def instances(*found: tuple[list[float], float, int, float]) -> InstanceData:
    """Return what a view found: box, score, label and the probability all over the mask."""
    boxes, scores, labels, probabilities = zip(*found, strict=True)
    return InstanceData(
        bboxes=torch.tensor(boxes),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels),
        soft_masks=torch.tensor(probabilities)[:, None, None].expand(-1, SIDE, SIDE),
    )


def merge(views: Sequence[InstanceData], **settings: Any) -> InstanceData:
    finder = Finder()
    finder.test_cfg.rcnn.update(settings)
    meta = dict(
        img_path="image.png",
        ori_shape=(HEIGHT, WIDTH),
        scale_factor=(1.0, 1.0),
        homography_matrix=np.eye(3, dtype=np.float32),
    )
    samples = [DetDataSample(metainfo=meta, pred_instances=view) for view in views]
    (merged,) = CellTTAModel(module=finder).merge_preds([samples])
    return merged.pred_instances


BOX, OTHER = [10.0, 10, 30, 20], [60.0, 30, 80, 50]


def test_probabilities_are_averaged_before_they_are_thresholded() -> None:
    # By weight of score: (0.8 * 0.3 + 0.4 * 0.9) / 1.2 = 0.5, on either side of which one view has a mask.
    views = [instances((BOX, 0.8, 0, 0.3)), instances((BOX, 0.4, 0, 0.9))]

    above, below = (merge(views, mask_thr_binary=threshold) for threshold in (0.49, 0.51))

    assert above.maskness.tolist() == pytest.approx([0.5])
    assert above.masks.runs.boxes.tolist() == [[11, 10, 29, 20]]  # bins at its ends fade
    assert below.maskness.tolist() == [0]
    assert below.masks.runs.areas.tolist() == [0]


def test_boxes_are_averaged_and_masks_with_them() -> None:
    moved = [12.0, 10, 32, 20]

    merged = merge([instances((BOX, 0.5, 0, 1.0)), instances((moved, 0.5, 0, 1.0))])

    assert merged.bboxes.tolist() == [[11, 10, 31, 20]]
    assert merged.scores.tolist() == [0.5]


def test_a_view_that_misses_a_cell_counts() -> None:
    views = [instances((BOX, 0.8, 0, 1.0))] * 3 + [instances((OTHER, 0.8, 1, 1.0))]

    merged = merge(views, mask_thr_binary=0.5)

    assert merged.scores.tolist() == pytest.approx([0.6, 0.2])
    assert merged.labels.tolist() == [0, 1]
    assert merged.bboxes.tolist() == [BOX, OTHER]
    assert merged.masks.runs.areas.tolist() == [200, 400]


def test_classes_are_not_mixed() -> None:
    merged = merge([instances((BOX, 0.8, 0, 1.0)), instances((BOX, 0.6, 1, 1.0))])

    assert merged.labels.tolist() == [0, 1]
    assert merged.scores.tolist() == pytest.approx([0.4, 0.3])


def test_the_best_are_kept() -> None:
    merged = merge([instances((BOX, 0.4, 0, 1.0), (OTHER, 0.8, 0, 1.0))], max_per_img=1)

    assert merged.bboxes.tolist() == [OTHER]
    assert len(merged.masks) == len(merged.maskness) == 1


def test_soft_masks_of_the_mean_are_kept_where_asked_for() -> None:
    images = [draw()]

    without, kept = (
        augmented(images, pipeline(), Finder(soft_masks=soft_masks))[0].pred_instances
        for soft_masks in (False, True)
    )

    assert "soft_masks" not in without
    assert kept.soft_masks.shape == (4, SIDE, SIDE)
    assert kept.soft_masks.dtype == torch.uint8
    assert kept.masks.runs == without.masks.runs


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("turn", range(4))
def test_boxes_and_probabilities_come_back(flip: int, turn: int, scale: float) -> None:
    """The pixels of a box are its probabilities: in the view as the transforms made it, and again in the image."""
    random = np.random.default_rng(turn)
    image = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    view = pipeline(flips=np.s_[flip : flip + 1], turns=np.s_[turn : turn + 1])({"img": image})
    pixels, meta = view["inputs"][0][0].numpy(), dict(view["data_samples"][0].metainfo)
    meta["scale_factor"] = (scale, scale)
    meta["homography_matrix"] = np.diag([scale, scale, 1]) @ meta["homography_matrix"]
    x1, y1, x2, y2 = 1, 2, 4, 4  # of the view
    found = InstanceData(
        bboxes=torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32),
        scores=torch.ones(1),
        labels=torch.ones(1),
        soft_masks=torch.from_numpy(pixels[None, y1:y2, x1:x2]).float(),
    )

    back = in_image(found, meta)

    x1, y1, x2, y2 = back.boxes[0].astype(int)
    np.testing.assert_array_equal(back.boxes, [[x1, y1, x2, y2]])
    np.testing.assert_array_equal(back.soft_masks[0], image[y1:y2, x1:x2, 0])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (None, r"image\.png.*no 'homography_matrix'.*meta_keys of PackDetInputs"),
        ([[1, 0.1, 0], [0, 1, 0], [0, 0, 1]], r"image\.png.*more than a flip"),
        ([[1, 0, 0], [0, 1, 0], [0.01, 0, 1]], "more than a flip"),
        ([[0, 0, 0], [1, 1, 0], [0, 0, 1]], "more than a flip"),
    ],
    ids=["none", "shear", "perspective", "nothing left"],
)
def test_other_views_are_an_error(matrix: Any, message: str) -> None:
    meta = dict(img_path="image.png", scale_factor=(1.0, 1.0))
    if matrix is not None:
        meta["homography_matrix"] = np.array(matrix, dtype=np.float32)
    with pytest.raises(UsageError, match=message):
        in_image(instances((BOX, 0.8, 0, 1.0)), meta)


def test_a_head_that_keeps_no_probabilities_is_an_error() -> None:
    with pytest.raises(UsageError, match="RoIFCNMaskHead and RoIHTCMaskHead"):
        CellTTAModel(module=Finder(FCNMaskHead))


@pytest.mark.parametrize("iou_thr", [-0.1, 1.0])
def test_an_overlap_out_of_range_is_an_error(iou_thr: float) -> None:
    with pytest.raises(UsageError, match="iou_thr"):
        MODELS.build(dict(type="CellTTAModel", iou_thr=iou_thr, module=Finder()))
