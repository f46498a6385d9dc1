"""Pixel models: a backbone, a decoder, and cells written in a pixel code."""

from cellseg_mmdet.models.pixel.decoder import PixelHead, UShapedDecoder
from cellseg_mmdet.models.pixel.detector import PixelDetector
from cellseg_mmdet.models.pixel.losses import PixelBCELoss, PixelDiceLoss
from cellseg_mmdet.models.pixel.tta import PixelTTAModel

__all__ = [
    "PixelBCELoss",
    "PixelDetector",
    "PixelDiceLoss",
    "PixelHead",
    "PixelTTAModel",
    "UShapedDecoder",
]
