from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import batched_nms

from cellseg_mmdet.ops.cpu.nms import nms, nms_match, softnms


def iou(first, second, offset: int) -> float:
    """Return the IoU of two boxes, by counting on paper."""
    width = min(first[2], second[2]) - max(first[0], second[0]) + offset
    height = min(first[3], second[3]) - max(first[1], second[1]) + offset
    both = max(0, width) * max(0, height)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (first, second)]
    return both / (sum(areas) - both) if sum(areas) - both else 0.0


def greedy(boxes: list, scores: list, threshold: float, offset: int) -> list[int]:
    # Which of two equal scores comes first is torch's to say.
    left = torch.tensor(scores, dtype=torch.float64).sort(descending=True).indices.tolist()
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        left = [other for other in left if iou(boxes[best], boxes[other], offset) <= threshold]
    return kept


whole = st.integers(0, 12)
box = st.tuples(whole, whole, whole, whole).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.tuples(box, st.integers(0, 5)), max_size=25),
    st.sampled_from([0.0, 0.21, 0.47, 0.9]),
    st.integers(0, 1),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_nms_is_greedy(drawn, threshold, offset, dtype):
    boxes, scores = [b for b, _ in drawn], [s for _, s in drawn]
    kept = nms(
        torch.tensor(boxes, dtype=dtype).reshape(-1, 4),
        torch.tensor(scores, dtype=dtype),
        threshold,
        offset,
    )
    assert kept.tolist() == greedy(boxes, scores, threshold, offset)
    assert kept.dtype == torch.int64


def test_a_box_of_just_the_threshold_stays():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1]])  # IoU 1 / 2
    scores = torch.tensor([1.0, 0.5])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5) == [[0, 1]]


def test_nan_overlaps_nothing():
    boxes = torch.tensor([[0.0, 0, 2, 2], [float("nan"), 0, 2, 2], [0, 0, 2, 2]])
    assert nms(boxes, torch.tensor([3.0, 2.0, 1.0]), 0.1).tolist() == [0, 1]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(box, st.integers(1, 5)), min_size=1, max_size=20))
def test_groups_hold_every_box_once_and_begin_with_what_nms_keeps(drawn):
    detections = torch.tensor([(*b, s) for b, s in drawn], dtype=torch.float32)
    groups = nms_match(detections, 0.37)  # no IoU of these boxes is just that
    assert sorted(index for group in groups for index in group) == list(range(len(drawn)))
    kept = nms(detections[:, :4], detections[:, 4], 0.37)
    assert [group[0] for group in groups] == kept.tolist()


def soften(boxes, scores, method, threshold, sigma, min_score):
    """Return (index, score) of what stays, by falling score, after the paper's pseudo code."""
    left = dict(enumerate(scores))
    kept = []
    while left:
        best = max(left, key=left.__getitem__)
        kept.append((best, left.pop(best)))
        for other in list(left):
            overlap = iou(boxes[best], boxes[other], 0)
            weight = 1.0
            if method == 2:
                weight = np.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                weight = 0.0 if method == 0 else 1 - overlap
            left[other] *= weight
            if left[other] < min_score:
                del left[other]
    return kept


@settings(deadline=None)  # the first call compiles
@given(st.lists(box, max_size=15), st.integers(0, 2), st.randoms(use_true_random=False))
def test_soft_nms_is_the_papers(boxes, method, random):
    scores = random.sample(range(100, 100 + 7 * len(boxes), 7), len(boxes))  # no two are equal
    scores = [score / 1000 for score in scores]
    rows = torch.zeros(len(boxes), 5, dtype=torch.float64)
    kept = softnms(
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float64),
        rows,
        iou_threshold=0.31,
        sigma=0.5,
        min_score=0.05,
        method=method,
        offset=0,
    )
    expected = soften(boxes, scores, method, 0.31, 0.5, 0.05)
    assert dict(zip(kept.tolist(), rows[:, 4].tolist(), strict=False)) == pytest.approx(
        dict(expected)
    )


@pytest.mark.parametrize("kind", ["nms", "soft_nms"])
def test_mmcvs_batched_nms_keeps_classes_apart(portable, kind):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    nms_cfg = {"type": kind, "iou_threshold": 0.5, "min_score": 0.5}
    if kind == "nms":
        del nms_cfg["min_score"]
    _, kept = batched_nms(boxes, scores, torch.tensor([0, 0, 1]), nms_cfg)
    assert sorted(kept.tolist()) == [0, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    boxes = torch.tensor([[0.0, 0, 8, 8], [1, 1, 8, 8], [16, 16, 24, 24]], dtype=dtype)
    assert nms(boxes, torch.tensor([3, 2, 1], dtype=dtype), 0.5).tolist() == [0, 2]
