"""Overlap of the foreground, the pixels of any cell: cells are not told apart. Means over images.

Definition: with P the pixels of all predicted and T those of all true cells,

        dice = 2 |P and T| / (|P| + |T|)    L. R. Dice, Ecology 26(3), 1945
        iou = |P and T| / |P or T|          P. Jaccard, New Phytologist 11(2), 1912

Range: [0, 1], 1 is perfect. An image where both are empty scores 1, one where one of them is 0.
"""

from __future__ import annotations

from cellseg_mmdet.evaluation.image_metric import mean_over_images
from cellseg_mmdet.evaluation.overlaps import Overlaps


@mean_over_images("dice", "Dice", "of the foreground, cells as one", rank=50)
def dice(overlaps: Overlaps) -> float:
    """Return the Dice coefficient in [0, 1] of the foreground of one image."""
    found, true, both = overlaps.foreground
    return 2 * both / (found + true) if found + true else 1.0


@mean_over_images("iou", "IoU", "of the foreground, cells as one", rank=60)
def foreground_iou(overlaps: Overlaps) -> float:
    """Return the intersection over union in [0, 1] of the foreground of one image."""
    found, true, both = overlaps.foreground
    return both / (found + true - both) if found + true else 1.0
