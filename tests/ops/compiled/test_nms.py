from __future__ import annotations

import numpy as np
import pytest
import torch

from cellseg_mmdet.ops.cpu.nms import nms, nms_match, softnms

KINDS = ("anywhere", "on a coarse grid", "many times the same", "negative sizes", "odd values")


def draw(kind: str, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    count = int(rng.integers(0, 80))
    corner, size = rng.uniform(0, 100, (count, 2)), rng.uniform(0, 30, (count, 2))
    scores = rng.uniform(0, 1, count)
    if (
        kind == "on a coarse grid"
    ):  # equal boxes, equal scores, empty boxes, IoU of just the threshold
        corner, size = rng.integers(0, 10, (count, 2)), rng.integers(0, 4, (count, 2))
        scores = rng.integers(0, 4, count) / 4
    if kind == "negative sizes":
        size = rng.uniform(-10, 30, (count, 2))
    boxes = torch.tensor(np.concatenate([corner, corner + size], axis=1), dtype=torch.float32)
    if kind == "many times the same" and count:
        boxes = boxes[rng.integers(0, 1 + count // 8, count)]
        scores = rng.integers(0, 3, count) / 2
    scores = torch.tensor(scores, dtype=torch.float32)
    if kind == "odd values" and count:
        boxes[rng.integers(0, count), rng.integers(0, 4)] = float("nan")
        boxes[rng.integers(0, count), rng.integers(0, 4)] = float("inf")
        scores[rng.integers(0, count)] = float("nan")
    return boxes, scores


@pytest.mark.parametrize("kind", KINDS)
def test_every_index_is_the_same(compiled, kind):
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(250):
        boxes, scores = draw(kind, rng)
        arguments = {
            "iou_threshold": float(rng.choice([0, 0.3, 0.5, 0.7, 1])),
            "offset": int(rng.integers(0, 2)),
        }
        assert torch.equal(
            nms(boxes, scores, **arguments), compiled.nms(boxes, scores, **arguments)
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [0, 1, 2], ids=["naive", "linear", "gaussian"])
def test_soft_scores_and_indices_are_the_same(compiled, kind, method):
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(100):
        boxes, scores = draw(kind, rng)
        ours, theirs = torch.zeros(2, len(boxes), 5)
        arguments = {
            "iou_threshold": float(rng.choice([0.1, 0.3, 0.5])),
            "sigma": 0.5,
            "min_score": float(rng.choice([0, 0.05, 0.3])),
            "method": method,
            "offset": int(rng.integers(0, 2)),
        }
        kept = softnms(boxes, scores, ours, **arguments)
        assert torch.equal(kept, compiled.softnms(boxes, scores, theirs, **arguments))
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_the_same(compiled, kind):
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(100):
        boxes, scores = draw(kind, rng)
        if len(boxes):
            detections = torch.cat([boxes, scores[:, None]], dim=1)
            threshold = float(rng.choice([0, 0.3, 0.5, 1]))
            assert nms_match(detections, threshold) == compiled.nms_match(
                detections, iou_threshold=threshold
            )
