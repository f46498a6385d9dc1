from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cellseg_mmdet.ops.cpu.nms import nms, nms_match, softnms

NAIVE, LINEAR, GAUSSIAN = range(3)
LEAST = 0.0617283  # a score that no rounding of fractions comes near
# Whole numbers meet in ties, shared edges and empty boxes; some sizes are negative.
COORDINATE = st.integers(-3, 12)
SCORE = st.integers(0, 4).map(lambda number: number / 4)
DETECTIONS = st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE, SCORE), max_size=40)


def as_tensors(rows: list[tuple[float, ...]]) -> tuple[Tensor, Tensor]:
    dets = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    return dets[:, :4], dets[:, 4]


def iou(first: list[float], second: list[float], offset: int) -> float:
    width = max(min(first[2], second[2]) - max(first[0], second[0]) + offset, 0)
    height = max(min(first[3], second[3]) - max(first[1], second[1]) + offset, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (first, second)]
    union = sum(areas) - width * height
    return width * height / union if union else math.nan if width * height == 0 else math.inf


def slow_groups(boxes: Tensor, scores: Tensor, offset: int, suppresses: object) -> list[list[int]]:
    rows, groups = boxes.tolist(), []
    order = scores.sort(descending=True)[1].tolist()
    while order:
        best = order[0]
        lost = [i for i in order[1:] if suppresses(iou(rows[best], rows[i], offset))]  # type: ignore[operator]
        groups.append([best, *lost])
        order = [i for i in order[1:] if i not in lost]
    return groups


@given(DETECTIONS, st.sampled_from([0, 1]), st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0]))
def test_nms_keeps_what_the_definition_keeps(rows: list, offset: int, threshold: float) -> None:
    boxes, scores = as_tensors(rows)
    groups = slow_groups(boxes, scores, offset, lambda overlap: overlap > threshold)
    assert nms(boxes, scores, threshold, offset).tolist() == [group[0] for group in groups]


@given(DETECTIONS, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_groups_are_those_of_the_definition(rows: list, threshold: float) -> None:
    boxes, scores = as_tensors(rows)
    groups = slow_groups(boxes, scores, 0, lambda overlap: overlap >= threshold)
    assert nms_match(torch.cat([boxes, scores[:, None]], dim=1), threshold) == groups


def test_a_threshold_met_exactly_keeps_in_nms_and_suppresses_in_groups() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])  # IoU 1/2
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5, 0).tolist() == [0, 1]
    assert nms_match(torch.cat([boxes, scores[:, None]], dim=1), 0.5) == [[0, 1]]


def test_offset_1_counts_the_last_pixel() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 1]])  # one pixel, and two with it: IoU 1/2
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.4, 1).tolist() == [0]
    assert nms(boxes, scores, 0.4, 0).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_type_of_float(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=dtype)
    assert nms(boxes, scores, 0.5, 0).tolist() == [1, 2]
    dets = torch.empty(3, 5, dtype=dtype)
    assert softnms(boxes, scores, dets, 0.5, 0.5, 0.1, NAIVE, 0).tolist() == [1, 2]
    assert dets[:2, 4].tolist() == [0.75, 0.25]


def test_boxes_that_are_no_numbers_stay() -> None:
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, math.nan, 10], [0, 0, 10, math.inf], [0, 0, 10, 10]]
    )
    scores = torch.tensor([0.4, 0.3, 0.2, math.nan])
    assert nms(boxes, scores, 0.5, 0).tolist() == [3, 1, 2]


def test_nothing_and_one() -> None:
    none, one = torch.empty(0, 4), torch.tensor([[0.0, 0, 1, 1]])
    assert nms(none, torch.empty(0), 0.5, 0).shape == (0,)
    assert softnms(none, torch.empty(0), torch.empty(0, 5), 0.5, 0.5, 0.1, LINEAR, 0).shape == (0,)
    assert nms_match(torch.empty(0, 5), 0.5) == []
    assert nms(one, torch.ones(1), 0.5, 0).tolist() == [0]


@pytest.mark.parametrize(
    ("method", "second"), [(NAIVE, None), (LINEAR, 0.4), (GAUSSIAN, 0.8 * math.exp(-0.25 / 0.5))]
)
def test_soft_scores_by_hand(method: int, second: float | None) -> None:
    boxes = torch.tensor(
        [[0.0, 0, 10, 5], [0, 0, 10, 10], [50, 50, 60, 60]]
    )  # IoU 1/2 of the first two
    dets = torch.empty(3, 5)
    kept = softnms(boxes, torch.tensor([0.8, 0.9, 0.3]), dets, 0.5, 0.5, 0.1, method, 0)
    scores = [0.9, 0.3] if second is None else [0.9, second, 0.3]
    assert kept.tolist() == ([1, 2] if second is None else [1, 0, 2])
    assert dets[: len(kept), 4].tolist() == pytest.approx(scores)
    assert torch.equal(dets[: len(kept), :4], boxes[kept])


@given(DETECTIONS, st.sampled_from([NAIVE, LINEAR, GAUSSIAN]), st.sampled_from([0, 1]))
def test_soft_nms_follows_its_definition(rows: list, method: int, offset: int) -> None:
    boxes, scores = as_tensors(rows)
    # Two empty boxes overlap by 0 / 0, which the gaussian makes a score of.
    boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 1)
    dets = torch.empty(len(rows), 5)
    kept = softnms(boxes, scores, dets, 0.25, 0.5, LEAST, method, offset).tolist()
    left, soft = set(range(len(rows))), scores.tolist()
    for turn, chosen in enumerate(kept):
        assert chosen in left and soft[chosen] == pytest.approx(
            max(soft[i] for i in left), abs=1e-6
        )
        assert dets[turn, 4].item() == pytest.approx(soft[chosen], abs=1e-6)
        left.remove(chosen)
        for other in sorted(left):
            overlap = iou(boxes[chosen].tolist(), boxes[other].tolist(), offset)
            if method == GAUSSIAN:
                soft[other] *= math.exp(-(overlap**2) / 0.5)
            elif overlap >= 0.25:
                soft[other] *= 1 - overlap if method == LINEAR else 0
            if soft[other] < LEAST:
                left.remove(other)
    assert not left


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nms(torch.zeros(2, 5), torch.zeros(2), 0.5, 0), r"\(2, 5\), not \(N, 4\)"),
        (
            lambda: nms(torch.zeros(2, 4), torch.zeros(3), 0.5, 0),
            r"2 boxes, but scores of shape \(3,\)",
        ),
        (lambda: nms_match(torch.zeros(2, 4), 0.5), r"\(2, 4\), not \(N, 5\)"),
        (
            lambda: softnms(
                torch.zeros(2, 4), torch.zeros(2), torch.zeros(2, 4), 0.5, 0.5, 0, 1, 0
            ),
            r"dets has shape \(2, 4\), not \(2, 5\)",
        ),
        (
            lambda: softnms(
                torch.zeros(2, 4), torch.zeros(2), torch.zeros(2, 5), 0.5, 0.5, 0, 3, 0
            ),
            "method is 3",
        ),
    ],
)
def test_what_does_not_fit_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_several_python_threads_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(800, 2, generator=generator) * 100
    boxes = torch.cat([low, low + torch.rand(800, 2, generator=generator) * 30], dim=1)
    scores = torch.rand(800, generator=generator)
    alone = nms(boxes, scores, 0.3, 0)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: nms(boxes, scores, 0.3, 0), range(12)))
    assert 0 < len(alone) < 800
    assert all(torch.equal(alone, kept) for kept in together)
