"""Synthetic phase-contrast images with their masks, in the layout of the Sartorius competition.

`shapes` draws single cells, `scene` places them in a field of view, `optics` turns the scene into
gray levels, `styles` holds what differs between cell types, and `dataset` writes whole data sets.
Needs numpy and OpenCV only.
"""

from cellseg_mmdet.synthetic.dataset import WrittenDataset, write_dataset
from cellseg_mmdet.synthetic.image import generate_image
from cellseg_mmdet.synthetic.scene import MIN_AREA_PX
from cellseg_mmdet.synthetic.styles import CELL_TYPES

__all__ = ["CELL_TYPES", "MIN_AREA_PX", "WrittenDataset", "generate_image", "write_dataset"]
