from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.errors import CellsegError, UsageError
from cellseg_mmdet.fusion import Detections, FusionOptions, fuse, paste_soft_masks
from cellseg_mmdet.fusion.fuse import Method
from cellseg_mmdet.masks import Runs
from tests.fusion.scenes import HEIGHT, WIDTH, found, sources, with_masks

WBF = FusionOptions()
METHODS = st.sampled_from(get_args(Method))


@given(scene=sources(), copies=st.integers(1, 3), overlap=st.sampled_from(["box", "mask"]))
def test_copies_fuse_to_what_they_are(scene: list[Detections], copies: int, overlap: str) -> None:
    source = one_without_empty_masks(scene)
    fused = fuse([source] * copies, [2.0] * copies, FusionOptions(overlap=overlap))
    order = np.argsort(-source.scores, kind="stable")
    assert (fused.boxes == source.boxes[order]).all()
    assert fused.scores == pytest.approx(source.scores[order])
    assert (fused.labels == source.labels[order]).all()
    assert (np.rint(fused.soft_masks * 255) == source.soft_masks[order]).all()
    assert fused.masks == source.masks[order]
    assert fused.mask_scores == pytest.approx(source.mask_scores[order])


@given(
    scene=sources(),
    method=METHODS,
    overlap=st.sampled_from(["box", "mask"]),
    soft=st.booleans(),
    data=st.data(),
)
def test_the_order_of_sources_and_of_detections_does_not_matter(
    scene: list[Detections], method: Method, overlap: str, soft: bool, data: st.DataObject
) -> None:
    options = FusionOptions(method, 0.4, overlap)
    weights = [1.0, 0.5, 2.0, 4.0][: len(scene)]
    if not soft:
        scene = [replace(source, soft_masks=None) for source in scene]
    turn = data.draw(st.permutations(range(len(scene))))
    orders = [data.draw(st.permutations(range(len(source)))) for source in scene]
    turned = [select(scene[number], np.array(orders[number], dtype=int)) for number in turn]
    first = fuse(scene, weights, options)
    second = fuse(turned, [weights[number] for number in turn], options)
    assert second.boxes == pytest.approx(first.boxes, abs=1e-4)
    assert second.scores == pytest.approx(first.scores)
    assert (second.labels == first.labels).all()
    assert second.mask_scores == pytest.approx(first.mask_scores)
    if soft:
        assert second.soft_masks == pytest.approx(first.soft_masks, abs=1e-4)
        assert np.abs(second.masks.areas - first.masks.areas).max(initial=0) <= 1
    else:
        assert second.masks == first.masks


@given(scene=sources(), method=METHODS)
def test_results_are_in_range(scene: list[Detections], method: Method) -> None:
    fused = fuse(scene, [1.0] * len(scene), FusionOptions(method))
    best = max((source.scores.max(initial=0) for source in scene), default=0)
    assert ((fused.scores > 0) & (fused.scores <= best * (1 + 1e-6))).all()
    assert ((fused.soft_masks >= 0) & (fused.soft_masks <= 1 + 1e-6)).all()
    assert (fused.masks.height, fused.masks.width) == (HEIGHT, WIDTH)
    assert len(fused.masks) == len(fused)
    assert (fused.boxes.dtype, fused.scores.dtype, fused.labels.dtype, fused.soft_masks.dtype) == (
        np.float32,
        np.float32,
        np.int64,
        np.float32,
    )


def test_probabilities_are_averaged_before_they_are_thresholded() -> None:
    # A bar of 4 bins, 4 pixels wide: sure of the left half here, nearly sure of it and of one more there.
    box = np.array([[0, 0, 4, 1]], np.float32)
    first = np.array([[[1.0, 1.0, 0.0, 0.0]]], np.float32)
    second = np.array([[[0.6, 0.6, 0.8, 0.0]]], np.float32)

    def source(soft: np.ndarray, score: float) -> Detections:
        masks = paste_soft_masks(soft, box, 1, 4)
        return Detections(box, np.array([score]), np.array([0]), soft, masks)

    fused = fuse([source(first, 0.5), source(second, 0.5)], [1, 1], WBF)
    assert fused.soft_masks.tolist() == [[[pytest.approx(v) for v in (0.8, 0.8, 0.4, 0.0)]]]
    assert fused.masks.areas.tolist() == [2]
    # Weighted by score, the second source decides.
    fused = fuse([source(first, 0.2), source(second, 0.6)], [1, 1], WBF)
    assert fused.soft_masks.tolist() == [[[pytest.approx(v) for v in (0.7, 0.7, 0.6, 0.0)]]]
    assert fused.masks.areas.tolist() == [3]
    # So it would by vote, and by weight of the source.
    votes = [replace(source(soft, 0.5), soft_masks=None) for soft in (first, second)]
    assert fuse(votes, [1, 3], WBF).masks.areas.tolist() == [3]
    assert fuse(votes, [3, 1], WBF).masks.areas.tolist() == [2]


def test_a_mask_threshold() -> None:
    soft = np.full((1, 2, 2), 0.6, np.float32)
    box, score, label = np.array([[0, 0, 4, 4]]), np.array([0.9]), np.array([0])
    pasted = paste_soft_masks(soft, box, 4, 4, 0.3)
    source = Detections(box, score, label, soft, pasted)
    assert fuse([source] * 2, [1, 1], FusionOptions(mask_thr=0.7)).masks.areas.tolist() == [0]
    # Of one source only, an instance keeps its mask.
    assert fuse([source], [1], FusionOptions(mask_thr=0.7)).masks == pasted


def test_what_one_source_lacks_is_left_out() -> None:
    rng = np.random.default_rng(0)
    source = with_masks(found([[2, 2, 12, 12]], [0.9]), 7, rng)
    fused = fuse([source, replace(source, soft_masks=None, mask_scores=None)], [1, 1], WBF)
    assert fused.soft_masks is None
    assert fused.mask_scores is None
    assert fused.masks == source.masks
    assert fuse([source, found([], [])], [1, 1], WBF).masks is None


@pytest.mark.parametrize("method", get_args(Method))
def test_sources_that_found_nothing(method: Method) -> None:
    nothing = Detections(
        np.zeros((0, 4)),
        np.zeros(0),
        np.zeros(0, int),
        np.zeros((0, 7, 7), np.uint8),
        Runs.empty(5, 6),
        np.zeros(0),
    )
    fused = fuse([nothing, nothing], [1, 1], FusionOptions(method))
    assert len(fused) == 0
    assert fused.boxes.shape == (0, 4)
    assert fused.soft_masks.shape == (0, 7, 7)
    assert fused.masks == Runs.empty(5, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "mean"}, "method 'mean': choose one of wbf, nms, soft-nms, soft-nms-linear"),
        ({"overlap": "area"}, "overlap 'area': choose one of box, mask"),
        ({"iou_thr": 1.0}, r"iou_thr 1.0: must be in \[0, 1\)"),
        ({"iou_thr": float("nan")}, "iou_thr nan"),
        ({"mask_thr": 0}, r"mask_thr 0: must be in \(0, 1\)"),
        ({"sigma": 0}, "sigma 0: must be positive"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FusionOptions(**options)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "one each is needed for 2 sources"),
        ([1, 0], "must be positive"),
        ([1, np.inf], "and finite"),
    ],
)
def test_weights_that_do_not_fit(weights: list[float], message: str) -> None:
    with pytest.raises((CellsegError, ValueError), match=message):
        fuse([found([], [])] * 2, weights, WBF)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.ones(3)}, "numbers of instances differ: .*'scores': 3"),
        ({"masks": Runs.empty(3, 3)}, "numbers of instances differ: .*'masks': 0"),
        ({"soft_masks": np.zeros((2, 7))}, r"soft masks of shape \(2, 7\)"),
        ({"soft_masks": np.zeros((2, 7, 7), int)}, "float or uint8, found int64"),
    ],
)
def test_detections_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(found([[0, 0, 1, 1]] * 2, [1, 1]), **changes)


def one_without_empty_masks(scene: list[Detections]) -> Detections:
    """Return the first source; masks without pixels match nothing, not even themselves."""
    return select(scene[0], scene[0].masks.areas > 0)


def select(source: Detections, index: np.ndarray) -> Detections:
    return Detections(
        source.boxes[index],
        source.scores[index],
        source.labels[index],
        None if source.soft_masks is None else source.soft_masks[index],
        source.masks[index],
        source.mask_scores[index],
    )
