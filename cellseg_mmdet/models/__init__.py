"""Parts of models. Importing this package, as a config's ``custom_imports`` do, registers them with mmdet."""

from cellseg_mmdet.models.backbones import EfficientNetLite, ResidualAttentionUNet, UNet
from cellseg_mmdet.models.mask_heads import RoIFCNMaskHead, RoIHTCMaskHead
from cellseg_mmdet.models.pixel import (
    PixelBCELoss,
    PixelDetector,
    PixelDiceLoss,
    PixelHead,
    PixelTTAModel,
    UShapedDecoder,
)
from cellseg_mmdet.models.tta import CellTTAModel

__all__ = [
    "CellTTAModel",
    "EfficientNetLite",
    "PixelBCELoss",
    "PixelDetector",
    "PixelDiceLoss",
    "PixelHead",
    "PixelTTAModel",
    "ResidualAttentionUNet",
    "RoIFCNMaskHead",
    "RoIHTCMaskHead",
    "UNet",
    "UShapedDecoder",
]
