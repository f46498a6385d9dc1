from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmdet.visualization import DetLocalVisualizer
from mmengine.evaluator.metric import _to_cpu
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.encoded import EncodedMasks

LABEL_MAP = np.array(
    [
        [1, 1, 0, 0, 2],
        [1, 0, 0, 2, 2],
        [0, 3, 3, 0, 0],
        [0, 3, 0, 0, 4],
    ]
)
DENSE = np.stack([label == LABEL_MAP for label in range(1, 5)])


@pytest.fixture
def masks() -> EncodedMasks:
    return EncodedMasks(Runs.from_label_map(LABEL_MAP))


def dense(masks: EncodedMasks) -> np.ndarray:
    return masks.astype(bool)


def test_one_is_an_rle(masks: EncodedMasks) -> None:
    decoded = [coco_mask.decode(masks[index]) for index in range(len(masks))]

    np.testing.assert_array_equal(decoded, DENSE)
    assert list(masks) == [masks[index] for index in range(4)]
    assert masks[-1] == masks[3]
    assert isinstance(masks[0]["counts"], str)
    with pytest.raises(IndexError):
        masks[4]


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 3),
        slice(None, 0),
        [2, 0],
        np.array([3, 3, 1]),
        np.array([True, False, False, True]),
        torch.tensor([2, 1]),
        torch.tensor([False, False, True, True]),
        torch.zeros(4, dtype=torch.bool),
    ],
    ids=str,
)
def test_several_are_selected(masks: EncodedMasks, index: object) -> None:
    chosen = masks[index]

    assert isinstance(chosen, EncodedMasks)
    np.testing.assert_array_equal(
        dense(chosen), DENSE[np.asarray(index) if isinstance(index, torch.Tensor) else index]
    )


def test_join(masks: EncodedMasks) -> None:
    joined = EncodedMasks.cat([masks[2:], masks[:1]])

    np.testing.assert_array_equal(dense(joined), DENSE[[2, 3, 0]])
    with pytest.raises(ValueError, match=r"one image size.*\(4, 5\), \(5, 4\)"):
        EncodedMasks.cat([masks, EncodedMasks(Runs.empty(5, 4))])


@pytest.mark.parametrize("keep", [[True, False, True, False], [False] * 4], ids=["two", "none"])
def test_instance_data_selects_and_joins(masks: EncodedMasks, keep: list[bool]) -> None:
    instances = InstanceData(scores=torch.rand(4), masks=masks)

    chosen = instances[torch.tensor(keep)]
    np.testing.assert_array_equal(dense(chosen.masks), DENSE[keep])

    both = InstanceData.cat([chosen, instances])
    np.testing.assert_array_equal(dense(both.masks), np.concatenate([DENSE[keep], DENSE]))


def test_mmengine_hands_it_on_as_it_is(masks: EncodedMasks) -> None:
    sample = DetDataSample(pred_instances=InstanceData(masks=masks))

    assert _to_cpu(sample.cpu().to_dict())["pred_instances"]["masks"] is masks


def test_a_pickle_holds_the_runs_only(masks: EncodedMasks) -> None:
    before = pickle.dumps(masks)
    list(masks)

    assert pickle.dumps(masks) == before
    assert pickle.loads(before).runs == masks.runs


def test_mmdet_encodes_it_one_mask_at_a_time(masks: EncodedMasks) -> None:
    assert encode_mask_results(masks.numpy()) == masks.runs.to_coco()
    assert masks.shape == DENSE.shape
    assert masks.astype(np.float32).dtype == np.float32


def test_no_instances() -> None:
    nothing = EncodedMasks(Runs.empty(4, 5))

    assert len(nothing) == 0
    assert list(nothing) == []
    assert nothing.shape == nothing.astype(bool).shape == (0, 4, 5)
    assert encode_mask_results(nothing.numpy()) == []
    assert len(EncodedMasks.cat([nothing, nothing])) == 0


def test_mmdet_draws_it() -> None:
    large = np.kron(LABEL_MAP, np.ones((30, 30), int))
    masks = EncodedMasks(Runs.from_label_map(large))

    def drawing(found: object, max_score: float) -> np.ndarray:
        visualizer = DetLocalVisualizer()
        visualizer.dataset_meta = {"classes": ("cell",), "palette": [(255, 0, 0)]}
        instances = InstanceData(
            scores=torch.linspace(0, max_score, 4), labels=torch.zeros(4, dtype=int), masks=found
        )
        np.random.seed(0)  # noqa: NPY002, mmdet jitters its colours
        visualizer.add_datasample(
            "cells",
            np.zeros((*large.shape, 3), np.uint8),
            DetDataSample(pred_instances=instances),
            draw_gt=False,
            pred_score_thr=0.5,
        )
        return visualizer.get_image()

    image = drawing(masks, max_score=1.0)
    assert image.any()
    np.testing.assert_array_equal(image, drawing(torch.from_numpy(dense(masks)), max_score=1.0))
