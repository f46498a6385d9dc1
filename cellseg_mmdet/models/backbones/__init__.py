"""Backbones that mmdet has not."""

from cellseg_mmdet.models.backbones.efficientnet_lite import EfficientNetLite

__all__ = ["EfficientNetLite"]
