"""Instances drawn over their image, contrast, sheets of pictures."""

from cellseg_mmdet.visualization.draw.overlays import draw_instances
from cellseg_mmdet.visualization.draw.pictures import write_picture
from cellseg_mmdet.visualization.draw.sheets import sheet

__all__ = ["draw_instances", "sheet", "write_picture"]
