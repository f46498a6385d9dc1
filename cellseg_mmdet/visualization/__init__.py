"""Pictures, charts and pages: what was annotated, what training sees, what was found, and where it is wrong.

Runs without torch; what pictures need of a model is in `inference`.
"""

from cellseg_mmdet.visualization.overlays import draw_instances
from cellseg_mmdet.visualization.pictures import write_picture
from cellseg_mmdet.visualization.sheets import sheet

__all__ = ["draw_instances", "sheet", "write_picture"]
