from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.fusion import Detections, suppression, weighted_fusion
from cellseg_mmdet.fusion.matching import LEAST_SCORE
from cellseg_mmdet.masks import Runs
from tests.fusion import reference
from tests.fusion.scenes import found, sources

WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=4, max_size=4)
IOU_THRS = st.sampled_from([0.1, 0.4, 0.55, 0.8])


def test_two_boxes_become_their_mean_by_weight_and_score() -> None:
    one, other = found([[0, 0, 10, 10]], [0.9]), found([[1, 0, 11, 10]], [0.6])
    matches = weighted_fusion([one, other], [1, 3], iou_thr=0.5)
    # 1 x 0.9 against 3 x 0.6: a third and two thirds. IoU 9 / 11.
    assert matches.members.tolist() == [[0, 0]]
    assert matches.weights.tolist() == [pytest.approx([0.9, 1.8])]
    assert matches.boxes.tolist() == [pytest.approx([2 / 3, 0, 10 + 2 / 3, 10])]
    assert matches.scores == pytest.approx([2.7 / 4])


def test_a_missing_source_counts_as_a_score_of_0() -> None:
    one, nothing = found([[0, 0, 10, 10]], [0.9]), found([], [])
    matches = weighted_fusion([nothing, one, nothing], [1, 2, 3], iou_thr=0.5)
    assert matches.scores == pytest.approx([0.9 * 2 / 6])
    assert matches.members.tolist() == [[-1, 0, -1]]
    assert matches.boxes.tolist() == [[0, 0, 10, 10]]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (found([[0, 0, 10, 10]], [0.6], [1]), "another class"),
        (found([[0, 5, 10, 15]], [0.6]), "an IoU of 1/3, not more"),
        (found([[10, 0, 20, 10]], [0.6]), "boxes that touch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_match_stays_apart(other: Detections, why: str) -> None:
    matches = weighted_fusion([found([[0, 0, 10, 10]], [0.9]), other], [1, 1], iou_thr=1 / 3)
    assert matches.scores == pytest.approx([0.45, 0.3]), why


def test_the_box_so_far_is_what_counts() -> None:
    boxes = [[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]]
    first, second, third = (
        found([box], [score]) for box, score in zip(boxes, (0.9, 0.9, 0.1), strict=True)
    )
    # The third has an IoU of 6/14 with the first, and of 7/13 with the mean of the first two.
    assert len(weighted_fusion([first, second, third], [1] * 3, iou_thr=0.5)) == 1
    assert len(weighted_fusion([first, third], [1] * 2, iou_thr=0.5)) == 2


def test_a_source_gives_an_instance_one_member() -> None:
    twice = found([[0, 0, 10, 10], [1, 0, 11, 10]], [0.9, 0.5])
    other = found([[0, 0, 10, 10]], [0.7])
    matches = weighted_fusion([twice, other], [1, 1], iou_thr=0.5)
    assert matches.members.tolist() == [[0, 0], [1, -1]]
    assert matches.scores == pytest.approx([0.8, 0.25])


def test_scores_of_0_weigh_the_same() -> None:
    one, other = found([[0, 0, 10, 10]], [0]), found([[1, 0, 11, 10]], [0])
    matches = weighted_fusion([one, other], [1, 1], iou_thr=0.5)
    assert matches.boxes.tolist() == [pytest.approx([0.5, 0, 10.5, 10])]
    assert matches.scores.astype(np.float32) == 0


def test_masks_match_where_boxes_do_not() -> None:
    # Two diagonal cells in one box.
    upper, lower = np.triu(np.ones((8, 8), int), 1), np.tril(np.ones((8, 8), int), -1)

    def cell(label_map: np.ndarray, score: float) -> Detections:
        return Detections(
            np.array([[0.0, 0, 8, 8]]),
            np.array([score]),
            np.array([0]),
            masks=Runs.from_label_map(label_map),
        )

    cells = [cell(upper, 0.9), cell(lower, 0.8), cell(upper, 0.7)]
    by_box = weighted_fusion(cells, [1] * 3, iou_thr=0.5)
    assert by_box.members.tolist() == [[0, 0, 0]]
    by_mask = weighted_fusion(cells, [1] * 3, iou_thr=0.5, overlap="mask")
    assert by_mask.members.tolist() == [[0, -1, 0], [-1, 0, -1]]
    assert len(suppression(cells, [1] * 3, iou_thr=0.5)) == 1
    assert len(suppression(cells, [1] * 3, iou_thr=0.5, overlap="mask")) == 2
    with pytest.raises(ValueError, match="not every source has binary masks"):
        weighted_fusion([found([], [])], [1], iou_thr=0.5, overlap="mask")


@pytest.mark.parametrize(
    ("decay", "scores"),
    [
        ("hard", [0.9, 0.2]),
        ("linear", [0.9, 0.8 * 2 / 3, 0.2]),  # 1/3 of the second overlaps
        ("gaussian", [0.9, 0.8 * np.exp(-((1 / 3) ** 2) / 0.5), 0.2]),
    ],
)
def test_suppression_of_three_boxes(decay: str, scores: list[float]) -> None:
    one = found([[0, 0, 10, 10], [30, 0, 40, 10]], [0.9, 0.2])
    other = found([[0, 5, 10, 15]], [0.8])
    matches = suppression([one, other], [1, 1], iou_thr=0.3, decay=decay)
    assert matches.scores == pytest.approx(scores)
    assert matches.boxes[0].tolist() == [0, 0, 10, 10]
    assert ((matches.members >= 0).sum(axis=1) == 1).all()


def test_the_greatest_weight_leaves_scores_as_they_are() -> None:
    one, other = found([[0, 0, 10, 10]], [0.9]), found([[20, 0, 30, 10]], [0.8])
    assert suppression([one, other], [2, 4], iou_thr=0.5).scores == pytest.approx([0.8, 0.45])


@given(scene=sources(), weights=WEIGHTS, iou_thr=IOU_THRS)
def test_weighted_fusion_is_that_of_the_reference(
    scene: list[Detections], weights: list[float], iou_thr: float
) -> None:
    weights = weights[: len(scene)]
    expected = reference.weighted_boxes(scene, weights, iou_thr)
    matches = weighted_fusion(scene, weights, iou_thr=iou_thr)
    assert matches.scores == pytest.approx([score for score, *_ in expected])
    assert matches.labels.tolist() == [label for _, label, *_ in expected]
    assert matches.boxes == pytest.approx(np.array([box for *_, box, _ in expected]).reshape(-1, 4))
    members = [
        {(source, index) for source, index in enumerate(row) if index >= 0}
        for row in matches.members.tolist()
    ]
    assert members == [of_instance for *_, of_instance in expected]


@pytest.mark.parametrize("decay", ["hard", "linear", "gaussian"])
@given(scene=sources(), weights=WEIGHTS, iou_thr=IOU_THRS, sigma=st.sampled_from([0.1, 0.5]))
def test_suppression_is_that_of_the_reference(
    decay: str, scene: list[Detections], weights: list[float], iou_thr: float, sigma: float
) -> None:
    weights = weights[: len(scene)]
    expected = reference.soft_nms(scene, weights, iou_thr, decay, sigma, LEAST_SCORE)
    matches = suppression(scene, weights, iou_thr=iou_thr, decay=decay, sigma=sigma)
    assert matches.scores == pytest.approx([score for score, _ in expected])
    row, source = np.nonzero(matches.members >= 0)
    assert row.tolist() == list(range(len(expected)))
    assert source.tolist() == [one.source for _, one in expected]
    assert matches.members[row, source].tolist() == [one.index for _, one in expected]


@settings(max_examples=30)
@given(scene=sources(), overlap=st.sampled_from(["box", "mask"]), iou_thr=IOU_THRS)
def test_every_detection_is_in_one_instance(
    scene: list[Detections], overlap: str, iou_thr: float
) -> None:
    matches = weighted_fusion(scene, [1] * len(scene), iou_thr=iou_thr, overlap=overlap)
    for source, detections in enumerate(scene):
        members = matches.members[:, source]
        assert sorted(members[members >= 0].tolist()) == list(range(len(detections)))
        assert (detections.labels[members[members >= 0]] == matches.labels[members >= 0]).all()
    assert (np.diff(matches.scores) <= 0).all()
