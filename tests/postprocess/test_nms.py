from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.masks import shared
from cellseg_mmdet.postprocess.nms import MEASURES, NMS, BoxNMS, MaskNMS
from cellseg_mmdet.structures import ImagePrediction
from tests.postprocess.scenes import (
    CLASSES,
    HEIGHT,
    WIDTH,
    bitmaps_of,
    columns,
    kept,
    numbered,
    predict,
    predictions,
)

THRESHOLDS = {"astro": 0.0, "cort": 0.3, "shsy5y": 0.7}


def dense_overlaps(first: np.ndarray, second: np.ndarray, both: np.ndarray, measure: str):
    size = first + second - both if measure == "iou" else np.minimum(first, second)
    return np.divide(both, size, out=np.zeros(both.shape), where=both > 0)


def mask_overlaps(scene: ImagePrediction, measure: str) -> np.ndarray:
    flat = bitmaps_of(scene.masks).reshape(len(scene), HEIGHT * WIDTH).astype(float)
    area = flat.sum(axis=1)
    return dense_overlaps(area[:, None], area[None], flat @ flat.T, measure)


def box_overlaps(scene: ImagePrediction, measure: str) -> np.ndarray:
    low, high = scene.boxes[:, :2].astype(float), scene.boxes[:, 2:].astype(float)
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    area = (high - low).prod(axis=1)
    return dense_overlaps(area[:, None], area[None], sides.clip(0).prod(axis=2), measure)


def naive_nms(scene: ImagePrediction, overlaps: np.ndarray) -> list[int]:
    thresholds = np.array([THRESHOLDS[name] for name in CLASSES])
    stays: list[int] = []
    for index in sorted(range(len(scene)), key=lambda i: (-scene.scores[i], i)):
        if all(overlaps[index, other] <= thresholds[scene.labels[index]] for other in stays):
            stays.append(index)
    return sorted(stays)


@given(predictions(max_count=12), st.sampled_from(MEASURES))
def test_mask_nms_is_that_of_all_pairs(scene: ImagePrediction, measure: str) -> None:
    result = MaskNMS(THRESHOLDS, measure, classes=CLASSES)(numbered(scene))
    assert kept(result) == naive_nms(scene, mask_overlaps(scene, measure))


@given(
    predictions(max_count=12),
    st.sampled_from(MEASURES),
    st.integers(0, 2**32 - 1),
)
def test_box_nms_is_that_of_all_pairs(scene: ImagePrediction, measure: str, seed: int) -> None:
    # Fractions of 8 are exact, also in float32; some boxes have no area.
    boxes = np.random.default_rng(seed).integers(0, 40, (len(scene), 2, 2)) / 8
    boxes = np.sort(boxes, axis=1).reshape(-1, 4).astype(np.float32)
    scene = replace(scene, boxes=boxes, labels=np.arange(len(scene)) % len(CLASSES))
    result = BoxNMS(THRESHOLDS, measure, classes=CLASSES)(scene)
    expected = naive_nms(scene, box_overlaps(scene, measure))
    assert result.boxes.tolist() == boxes[expected].tolist()
    assert result.masks == scene.masks[np.array(expected, dtype=int)]


@pytest.mark.parametrize("step", [BoxNMS, MaskNMS])
@pytest.mark.parametrize(
    ("measure", "threshold", "expected"),
    [("iou", 1 / 3, [0, 1]), ("iou", 0.33, [0]), ("ios", 0.5, [0, 1]), ("ios", 0.49, [0])],
)
def test_the_threshold_itself_is_allowed(
    step: type[NMS], measure: str, threshold: float, expected: list[int]
) -> None:
    # Both share 2 of their 4 columns: 2 / 6 of the union, 2 / 4 of the smaller.
    scene = predict(columns((0, 4), (2, 6)))
    assert len(step(threshold, measure)(scene)) == len(expected)


def test_a_part_of_a_cell_is_found_by_its_share_alone() -> None:
    scene = numbered(predict(columns((0, 9), (3, 5))))
    assert kept(MaskNMS(0.5)(scene)) == [0, 1]
    assert kept(MaskNMS(0.5, "ios")(scene)) == [0]


def test_what_is_dropped_drops_nothing() -> None:
    # Each shares a half with the next: the first drops the second, which leaves the third alone.
    scene = numbered(predict(columns((0, 4), (2, 6), (4, 8)), [0.9, 0.8, 0.7]))
    assert kept(MaskNMS(0.3)(scene)) == [0, 2]


def test_the_class_of_the_lower_score_counts() -> None:
    scene = numbered(predict(columns((0, 4), (2, 6), (7, 9), (8, 10)), labels=[2, 0, 0, 2]))
    assert kept(MaskNMS(THRESHOLDS, classes=CLASSES)(scene)) == [0, 2, 3]


@given(predictions(max_count=12), st.sampled_from([BoxNMS, MaskNMS]), st.sampled_from(MEASURES))
def test_a_second_time_changes_nothing(
    scene: ImagePrediction, step: type[NMS], measure: str
) -> None:
    once = step(0.4, measure)(scene)
    assert len(step(0.4, measure)(once)) == len(once)


@given(scene=predictions(max_count=12))
def test_pairs_are_the_same_in_small_batches(scene: ImagePrediction) -> None:
    at_once = shared.shared_by_masks(scene.masks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "_MAX_PAIRS", 3)
        in_batches = shared.shared_by_masks(scene.masks)
    for one, other in zip(at_once, in_batches, strict=True):
        assert np.array_equal(one, other)


def test_pairs_are_sorted_and_counted_once() -> None:
    # Runs of the second begin before and after those of the first.
    pairs = shared.shared_by_masks(predict(columns((4, 8), (2, 6), (7, 9))).masks)
    assert list(zip(*(part.tolist() for part in pairs), strict=True)) == [(0, 1, 16), (0, 2, 8)]
