"""What a mask is: runs of pixels, bitmaps in boxes, codecs, overlaps. Needs numpy, scipy and pycocotools only."""

from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.masks.overlap import pairwise_intersection, pairwise_iou
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import PixelOrder, Runs

__all__ = [
    "EncodedMasks",
    "PixelOrder",
    "RoIMasks",
    "Runs",
    "pairwise_intersection",
    "pairwise_iou",
]
