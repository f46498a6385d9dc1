"""Mask heads that give each mask in its own box."""

from cellseg_mmdet.models.mask_heads.paste import paste_masks
from cellseg_mmdet.models.mask_heads.roi_mask_heads import (
    PasteInRoI,
    RoIFCNMaskHead,
    RoIHTCMaskHead,
    set_masks,
)

__all__ = ["PasteInRoI", "RoIFCNMaskHead", "RoIHTCMaskHead", "paste_masks", "set_masks"]
