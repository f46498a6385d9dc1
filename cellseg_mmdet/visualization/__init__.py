"""Pictures of what was found: overlays of instances on their image. Needs numpy and OpenCV only."""

from cellseg_mmdet.visualization.overlays import draw_instances, side_by_side

__all__ = ["draw_instances", "side_by_side"]
