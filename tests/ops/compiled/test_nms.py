"""Every index as mmcv's compiled operators give it."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from cellseg_mmdet.ops.cpu import nms as portable
from tests.ops.compiled.extension import compiled

pytestmark = pytest.mark.slow

CASES = 1000
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 1.0)


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    return compiled()


def case(number: int) -> tuple[Tensor, Tensor, float, int]:
    """Return boxes, scores, threshold and offset; what is awkward about them depends on the number."""
    generator = torch.Generator().manual_seed(number)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    count = 1 + int(uniform(1) ** 3 * 400)
    boxes = uniform(count, 4) * 50
    if number % 5:  # every fifth has negative sizes, where corners stand in any order
        boxes[:, 2:] = boxes[:, :2] + uniform(count, 2) * 25
    if number % 3 == 0:  # shared edges, sizes of zero
        boxes = boxes.round()
    if number % 4 == 0:  # identical boxes
        boxes = boxes[torch.randint(count, (count,), generator=generator) // 4]
    if number % 7 == 0:  # classes set apart, as batched_nms does
        boxes += 1000 * torch.randint(5, (count, 1), generator=generator)
    if number % 11 == 0:
        boxes[uniform(count, 4) < 0.02] = float("nan")
    if number % 13 == 0:
        boxes[uniform(count, 4) < 0.02] = float("inf")
    scores = uniform(count)
    if number % 2:  # ties
        scores = (scores * 8).round() / 8
    if number % 17 == 0:
        scores[uniform(count) < 0.1] = float("nan")
    return boxes, scores, THRESHOLDS[number % len(THRESHOLDS)], number // 2 % 2


def test_nms(extension: ModuleType) -> None:
    lost = 0
    for number in range(CASES):
        boxes, scores, threshold, offset = case(number)
        expected = extension.nms(boxes, scores, iou_threshold=threshold, offset=offset)
        kept = portable.nms(boxes, scores, iou_threshold=threshold, offset=offset)
        assert torch.equal(kept, expected), f"case {number}"
        lost += len(boxes) - len(kept)
    assert lost > 10 * CASES  # the cases are about boxes that overlap


def test_as_many_boxes_as_a_proposal_network_has(extension: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(6000, 2, generator=generator) * 1000
    boxes = torch.cat([low, low + torch.rand(6000, 2, generator=generator) * 100], dim=1)
    scores = torch.rand(6000, generator=generator).half().float()
    for threshold in THRESHOLDS:
        expected = extension.nms(boxes, scores, iou_threshold=threshold, offset=0)
        assert torch.equal(portable.nms(boxes, scores, threshold, 0), expected)


@pytest.mark.parametrize("method", [0, 1, 2])
def test_softnms(extension: ModuleType, method: int) -> None:
    for number in range(CASES):
        boxes, scores, threshold, offset = case(number)
        results = []
        for operator in (extension.softnms, portable.softnms):
            dets = torch.zeros(len(boxes), 5)
            kept = operator(
                boxes,
                scores,
                dets,
                iou_threshold=threshold,
                sigma=0.5,
                min_score=0.05,
                method=method,
                offset=offset,
            )
            results.append((kept, dets[: len(kept)]))
        (expected, expected_dets), (kept, dets) = results
        assert torch.equal(kept, expected), f"case {number}"
        assert torch.allclose(dets, expected_dets, atol=1e-6, rtol=0, equal_nan=True)


def test_nms_match(extension: ModuleType) -> None:
    for number in range(CASES):
        boxes, scores, threshold, _ = case(number)
        dets = torch.cat([boxes, scores[:, None]], dim=1)
        expected = extension.nms_match(dets, iou_threshold=threshold)
        assert portable.nms_match(dets, iou_threshold=threshold) == expected, f"case {number}"
