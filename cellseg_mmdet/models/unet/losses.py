"""Losses of maps."""

from cellseg_mmdet.models.pixel.losses import PixelBCELoss, PixelDiceLoss, pixel_scores

__all__ = ["PixelBCELoss", "PixelDiceLoss", "pixel_scores"]
