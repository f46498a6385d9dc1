"""Detections to fuse: drawn at random, or of geometry known on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from cellseg_mmdet.fusion import Detections, paste_soft_masks

HEIGHT, WIDTH = 40, 60


def found(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], labels: Sequence[int] | None = None
) -> Detections:
    """Return detections without masks; by default of label 0."""
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array([0] * len(scores) if labels is None else labels, np.int64),
    )


def with_masks(detections: Detections, size: int, rng: np.random.Generator) -> Detections:
    """Add disks with soft and ragged borders, as uint8 and pasted."""
    centers = (np.arange(size) + 0.5) / size - 0.5
    distance = np.hypot(centers[:, None], centers)
    radius = rng.uniform(0.3, 0.5, (len(detections), 1, 1))
    noise = rng.normal(0, 0.05, (len(detections), size, size))
    soft = np.rint((1 / (1 + np.exp(20 * (distance + noise - radius)))) * 255).astype(np.uint8)
    return Detections(
        detections.boxes,
        detections.scores,
        detections.labels,
        soft,
        paste_soft_masks(soft, detections.boxes, HEIGHT, WIDTH),
        rng.random(len(detections)).astype(np.float32),
    )


def draw_detections(rng: np.random.Generator, count: int) -> Detections:
    """Return boxes of 4 to 15 pixels that crowd each other, of three classes."""
    corners = rng.uniform([0, 0], [WIDTH - 4, HEIGHT - 4], (count, 2))
    ends = corners + rng.uniform(4, 15, (count, 2))
    boxes = np.concatenate([corners, np.minimum(ends, [WIDTH, HEIGHT])], axis=1)
    return found(boxes, rng.uniform(0.05, 1, count), rng.integers(0, 3, count))


def jittered(detections: Detections, rng: np.random.Generator) -> Detections:
    """Return what another model might have found: some missing, some new, boxes and scores a little off."""
    kept = rng.random(len(detections)) < 0.8
    boxes = (detections.boxes[kept] + rng.normal(0, 0.7, (kept.sum(), 4))).clip(0)
    new = draw_detections(rng, 2)
    order = rng.permutation(kept.sum() + 2)
    # A side that jitter has turned round is sorted again.
    sides = np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    return found(
        np.concatenate([sides, new.boxes])[order],
        np.concatenate([rng.uniform(0.05, 1, kept.sum()), new.scores])[order],
        np.concatenate([detections.labels[kept], new.labels])[order],
    )


@st.composite
def sources(draw: st.DrawFn) -> list[Detections]:
    """Draw what one to four sources found, with masks of different sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = draw_detections(rng, draw(st.integers(0, 25)))
    others = [jittered(first, rng) for _ in range(draw(st.integers(0, 3)))]
    return [with_masks(one, int(rng.choice([7, 14])), rng) for one in (first, *others)]
