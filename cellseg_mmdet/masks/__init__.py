"""What a mask is: runs of pixels, the codecs around them, and overlap measures. Needs numpy and pycocotools only."""

from cellseg_mmdet.masks.overlap import pairwise_intersection, pairwise_iou
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import PixelOrder, Runs

__all__ = ["PixelOrder", "RoIMasks", "Runs", "pairwise_intersection", "pairwise_iou"]
