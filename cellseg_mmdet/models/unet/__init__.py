"""U-Nets as detectors: networks, losses of pixels, and single cells from maps."""

from cellseg_mmdet.models.unet.detector import UNetInstance
from cellseg_mmdet.models.unet.instances import split_cells
from cellseg_mmdet.models.unet.losses import PixelBCELoss, PixelDiceLoss
from cellseg_mmdet.models.unet.network import ResidualAttentionUNet, UNet
from cellseg_mmdet.models.unet.tta import UNetTTAModel

__all__ = [
    "PixelBCELoss",
    "PixelDiceLoss",
    "ResidualAttentionUNet",
    "UNet",
    "UNetInstance",
    "UNetTTAModel",
    "split_cells",
]
