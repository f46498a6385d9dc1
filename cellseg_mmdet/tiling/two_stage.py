"""Detectors of two stages (Mask R-CNN, Cascade Mask R-CNN, HTC), tile by tile."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import (
    CascadeRoIHead,
    HybridTaskCascadeRoIHead,
    MaskScoringRoIHead,
    StandardRoIHead,
)
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from cellseg_mmdet.tiling.candidates import Candidates, flat, subset
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.maps import WholeMaps
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.unused_levels import UnusedLevels

_ROI_HEADS = (StandardRoIHead, CascadeRoIHead, HybridTaskCascadeRoIHead, MaskScoringRoIHead)
# Numbers that a head keeps for a region, by those of the region's features: of a box head, and of a mask head, whose
# maps are twice as large.
_BOX_FACTOR, _MASK_FACTOR = 4, 16
# Regions are worked on in bands of this many pixels, so that those that are together lie together in the maps.
_BAND_PX = 256
# Regions that are worked on together whatever the memory.
_FEW = 64
# Regions that are worked on together where the maps lie in a file.
_IN_FILE = 256


class TwoStage:
    """The heads of a detector of two stages.

    The RoI heads see the maps of the whole picture, so a region may be of any size; its coordinates are those of the
    whole as well, and rounded alike.

    Args:
        model: mmdet's detector.
        strides: of the maps that the heads see.
        channels: of these maps.
        divisor: the picture ends at a multiple of this many pixels.

    Raises:
        NotTiled: a head is of a kind that is not known to look at its own anchor or region only.
    """

    def __init__(
        self, model: Any, strides: tuple[int, ...], channels: tuple[int, ...], divisor: int
    ) -> None:
        self._rpn, self._roi_head = model.rpn_head, model.roi_head
        if type(self._rpn) is not RPNHead:
            raise NotTiled(f"rpn_head is a {type(self._rpn).__name__}; tiles know RPNHead")
        if type(self._roi_head) not in _ROI_HEADS:
            allowed = ", ".join(kind.__name__ for kind in _ROI_HEADS)
            raise NotTiled(f"roi_head is a {type(self._roi_head).__name__}; tiles know {allowed}")
        if getattr(self._roi_head, "with_semantic", False):
            raise NotTiled("roi_head.semantic_head looks at the whole picture")
        self._strides = strides

        def dense(maps: list[Tensor]) -> list[Tensor]:
            scores, boxes = self._rpn(tuple(maps))
            return [*scores, *boxes]

        self.part = NetworkPart("rpn_head", self._rpn, dense, strides, channels, divisor=divisor)

    def predict(
        self,
        maps: WholeMaps,
        sample: DetDataSample,
        tile: int,
        memory_bytes: float,
    ) -> InstanceData:
        """Return the instances of a picture, in the coordinates of the original, as mmdet does.

        Args:
            maps: of the whole picture.
            sample: its meta information.
            tile: side of the tiles of the dense head in pixels.
            memory_bytes: that the RoI heads may take for what they work on together.
        """
        meta = sample.metainfo
        proposals = self._proposals(maps, meta, tile)
        if not len(proposals):
            return self._roi_head.predict(maps.levels, [proposals], [sample], rescale=True)[0]
        found = self._boxes(maps, meta, proposals, memory_bytes)
        if not self._roi_head.with_mask:
            return found
        at_once = _at_once(memory_bytes, self._roi_head.mask_roi_extractor, _MASK_FACTOR)
        return _in_parts(
            found, found.bboxes, lambda part: self._masks(maps, meta, part), at_once, maps
        )

    def _proposals(self, maps: WholeMaps, meta: dict[str, Any], tile: int) -> InstanceData:
        rpn = self._rpn
        classes = rpn.cls_out_channels
        num_levels = len(self.part.reach.strides) // 2
        whole = Rect(0, 0, *maps.size_hw)
        strides = self.part.reach.strides[:num_levels]
        sizes = [(level.y1, level.x1) for level in map(whole.divided, strides)]
        levels = [
            Candidates(size, num_anchors=count, limit=rpn.test_cfg.get("nms_pre", -1))
            for size, count in zip(sizes, rpn.prior_generator.num_base_priors, strict=True)
        ]

        def collect(core: Rect, outputs: list[Tensor]) -> None:
            for index, level in enumerate(levels):
                logits = flat(outputs[index], classes)
                deltas = flat(outputs[num_levels + index], rpn.bbox_coder.encode_size)
                scores = logits.sigmoid() if rpn.use_sigmoid_cls else logits.softmax(-1)[:, :-1]
                level.add(core.divided(strides[index]), scores, [logits, deltas])

        self.part.work(maps.size_hw, tile, maps.read, collect, "proposals")
        priors = [
            rpn.prior_generator.sparse_priors(
                level.places(), size, index, level.values[0].dtype, level.values[0].device
            )
            for index, (level, size) in enumerate(zip(levels, sizes, strict=True))
        ]
        return rpn._predict_by_feat_single(
            cls_score_list=[level.as_map(0) for level in levels],
            bbox_pred_list=[level.as_map(1) for level in levels],
            score_factor_list=[None] * num_levels,
            mlvl_priors=priors,
            img_meta=meta,
            cfg=rpn.test_cfg,
            rescale=False,
        )

    def _boxes(
        self, maps: WholeMaps, meta: dict[str, Any], proposals: InstanceData, memory_bytes: float
    ) -> InstanceData:
        head = self._roi_head
        rescale = not head.with_mask  # else the mask head does it

        def scored(part: InstanceData) -> InstanceData:
            # Without test_cfg: boxes and scores of all classes, before any suppression.
            (found,) = head.predict_bbox(
                maps.levels, [meta], [part], rcnn_test_cfg=None, rescale=rescale
            )
            return InstanceData(bboxes=found.bboxes, scores=found.scores)

        at_once = _at_once(memory_bytes, head.bbox_roi_extractor, _BOX_FACTOR)
        raw = _in_parts(proposals, proposals.bboxes, scored, at_once, maps)
        cfg = head.test_cfg
        boxes, labels = multiclass_nms(
            raw.bboxes, raw.scores, cfg.score_thr, cfg.nms, cfg.max_per_img, box_dim=4
        )
        return InstanceData(bboxes=boxes[:, :-1], scores=boxes[:, -1], labels=labels)

    def _masks(self, maps: WholeMaps, meta: dict[str, Any], found: InstanceData) -> InstanceData:
        head = self._roi_head
        # HTC's maps of a semantic head, which there is none of.
        names = inspect.signature(head.predict_mask).parameters
        semantic = {name: None for name in ("semantic_heat", "semantic_feat") if name in names}
        return head.predict_mask(
            x=maps.levels, batch_img_metas=[meta], results_list=[found], rescale=True, **semantic
        )[0]


def _at_once(memory_bytes: float, extractors: Any, factor: int) -> int:
    """Return how many regions are worked on together."""
    extractor = extractors[0] if isinstance(extractors, nn.ModuleList) else extractors
    rows, columns = extractor.roi_layers[0].output_size
    return int(memory_bytes / (4 * extractor.out_channels * rows * columns * factor))


def _in_parts(
    instances: InstanceData,
    boxes: Tensor,
    work: Callable[[InstanceData], InstanceData],
    at_once: int,
    maps: WholeMaps,
) -> InstanceData:
    """Return what ``work`` makes of all instances, a part of them at a time, in their order.

    Few are worked on in one go and in their order: then float sums are taken as they are without tiles. Where the maps
    lie in a file, no more of them is in memory than a part looks at.
    """
    at_once = max(_FEW, min(at_once, _IN_FILE) if maps.in_file else at_once)
    if len(instances) <= at_once:
        with UnusedLevels(maps.levels):
            result = work(subset(instances, slice(None)))
        maps.let_go()
        return result
    order = _by_place(boxes)
    results = []
    with UnusedLevels(maps.levels):
        for chosen in torch.split(order, at_once):
            results.append(work(subset(instances, chosen)))
            maps.let_go()
    return InstanceData.cat(results)[order.argsort()]


def _by_place(boxes: Tensor) -> Tensor:
    """Return the order of boxes (N, 4): bands from top to bottom, in each from left to right."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    by_x = middle[:, 0].argsort(stable=True)
    return by_x[(middle[by_x, 1] // _BAND_PX).argsort(stable=True)]
