"""Backbones that mmdet has not."""

from cellseg_mmdet.models.backbones.efficientnet_lite import EfficientNetLite
from cellseg_mmdet.models.backbones.unet import ResidualAttentionUNet, UNet

__all__ = ["EfficientNetLite", "ResidualAttentionUNet", "UNet"]
