"""Fusing detections of several sources, models or views, into one set; runs without torch."""

from cellseg_mmdet.fusion.detections import Detections
from cellseg_mmdet.fusion.fuse import FusionOptions, fuse
from cellseg_mmdet.fusion.matching import Matches, suppression, weighted_fusion
from cellseg_mmdet.fusion.soft_masks import average_soft_masks, cut_soft_masks, paste_soft_masks

__all__ = [
    "Detections",
    "FusionOptions",
    "Matches",
    "average_soft_masks",
    "cut_soft_masks",
    "fuse",
    "paste_soft_masks",
    "suppression",
    "weighted_fusion",
]
