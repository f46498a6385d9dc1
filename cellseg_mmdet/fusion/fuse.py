"""Fusing what several sources found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.fusion.detections import Detections, of_all
from cellseg_mmdet.fusion.matching import Decay, Matches, Overlap, suppression, weighted_fusion
from cellseg_mmdet.fusion.soft_masks import average_soft_masks, paste_soft_masks
from cellseg_mmdet.fusion.votes import vote_masks
from cellseg_mmdet.masks import Runs

Method = Literal["wbf", "nms", "soft-nms", "soft-nms-linear"]
_DECAY: dict[str, Decay] = {"nms": "hard", "soft-nms": "gaussian", "soft-nms-linear": "linear"}


@dataclass(frozen=True)
class FusionOptions:
    """How sources are fused.

    Attributes:
        method: 'wbf' averages detections that overlap (see `weighted_fusion`), 'nms' keeps the best
            of them, 'soft-nms' lowers the scores of the others, by a Gaussian of the overlap or,
            'soft-nms-linear', in proportion to it (see `suppression`).
        iou_thr: overlap in [0, 1) that must be exceeded; 'soft-nms' has none.
        overlap: IoU of 'box' or 'mask'.
        sigma: width of the Gaussian of 'soft-nms', positive.
        mask_thr: least mean probability of foreground where soft masks are averaged, in (0, 1).

    Raises:
        UsageError: for a value that is not allowed.

    Example:
        >>> FusionOptions(method="nms", iou_thr=0.4).overlap
        'box'
    """

    method: Method = "wbf"
    iou_thr: float = 0.55
    overlap: Overlap = "box"
    sigma: float = 0.5
    mask_thr: float = 0.5

    def __post_init__(self) -> None:
        for name, choices in (("method", get_args(Method)), ("overlap", get_args(Overlap))):
            if (value := getattr(self, name)) not in choices:
                raise UsageError(f"{name} {value!r}: choose one of {', '.join(choices)}")
        if not 0 <= self.iou_thr < 1:
            raise UsageError(f"iou_thr {self.iou_thr}: must be in [0, 1)")
        if not 0 < self.mask_thr < 1:
            raise UsageError(f"mask_thr {self.mask_thr}: must be in (0, 1)")
        if not self.sigma > 0:
            raise UsageError(f"sigma {self.sigma}: must be positive")


def fuse(
    sources: Sequence[Detections], weights: Sequence[float], options: FusionOptions
) -> Detections:
    """Fuse what S sources found in one image, by falling score.

    The result has soft masks, masks and mask scores if all sources have them. Soft masks and mask
    scores are means, weighted by source weight x score. Masks are the averaged soft masks, pasted;
    without soft masks they are a vote with the same weights. An instance of one member keeps its
    mask.

    Args:
        sources: one at least, their masks of one image size.
        weights: (S,) positive weight of each source.
        options: how.

    Returns:
        boxes, scores, soft masks (in [0, 1]) and mask scores as float32, labels as int64.

    Raises:
        UsageError: for weights that are not positive, or not as many as sources; for masks of
            different image sizes; if masks are to be compared that a source does not have.

    Example:
        >>> box = np.array([[0.0, 0.0, 4.0, 4.0]])
        >>> sources = [Detections(box + shift, np.array([0.8]), np.array([0])) for shift in (0, 1)]
        >>> found = fuse(sources, [1.0, 1.0], FusionOptions(iou_thr=0.3))
        >>> found.boxes, found.scores
        (array([[0.5, 0.5, 4.5, 4.5]], dtype=float32), array([0.8], dtype=float32))
    """
    check_weights(weights, len(sources))
    matches = _match(sources, weights, options)
    boxes = matches.boxes.astype(np.float32)
    soft_masks = _mean_masks(sources, matches, boxes)
    return Detections(
        boxes,
        matches.scores.astype(np.float32),
        matches.labels,
        soft_masks,
        _binary_masks(sources, matches, boxes, soft_masks, options.mask_thr),
        _mean_mask_scores(sources, matches),
    )


def check_weights(weights: Sequence[float], num_sources: int) -> None:
    """Make sure that there is a weight for each source.

    Raises:
        UsageError: if there is not, or if they are not positive and finite.
    """
    if len(weights) != num_sources:
        raise UsageError(f"weights {list(weights)}: one each is needed for {num_sources} sources")
    if not all(np.isfinite(weight) and weight > 0 for weight in weights):
        raise UsageError(f"weights {list(weights)}: each must be positive and finite")


def _match(
    sources: Sequence[Detections], weights: Sequence[float], options: FusionOptions
) -> Matches:
    if options.method == "wbf":
        return weighted_fusion(sources, weights, iou_thr=options.iou_thr, overlap=options.overlap)
    return suppression(
        sources,
        weights,
        iou_thr=options.iou_thr,
        overlap=options.overlap,
        decay=_DECAY[options.method],
        sigma=options.sigma,
    )


def _mean_masks(
    sources: Sequence[Detections], matches: Matches, boxes: np.ndarray
) -> np.ndarray | None:
    soft_masks = of_all(sources, "soft_masks")
    if soft_masks is None:
        return None
    own_boxes = [source.boxes for source in sources]
    return average_soft_masks(soft_masks, own_boxes, matches.members, matches.weights, boxes)


def _binary_masks(
    sources: Sequence[Detections],
    matches: Matches,
    boxes: np.ndarray,
    soft_masks: np.ndarray | None,
    mask_thr: float,
) -> Runs | None:
    masks = of_all(sources, "masks")
    if masks is None:
        return None
    if soft_masks is None:
        return vote_masks(masks, matches.members, matches.weights)
    several = (matches.members >= 0).sum(axis=1) > 1
    height, width = masks[0].height, masks[0].width
    pasted = paste_soft_masks(soft_masks[several], boxes[several], height, width, mask_thr)
    alone = vote_masks(masks, matches.members[~several], matches.weights[~several])
    order = np.concatenate([np.flatnonzero(several), np.flatnonzero(~several)])
    return Runs.concatenate([pasted, alone])[np.argsort(order)]


def _mean_mask_scores(sources: Sequence[Detections], matches: Matches) -> np.ndarray | None:
    mask_scores = of_all(sources, "mask_scores")
    if mask_scores is None:
        return None
    total = np.zeros(len(matches))
    for source, values in enumerate(mask_scores):
        rows = np.flatnonzero(matches.members[:, source] >= 0)
        total[rows] += matches.weights[rows, source] * values[matches.members[rows, source]]
    return (total / matches.weights.sum(axis=1)).astype(np.float32)
