"""Pictures too large to be predicted as a whole: cut into tiles, with the result of the whole."""

from cellseg_mmdet.tiling.cover import Cover, Rect, Tile

__all__ = ["Cover", "Rect", "Tile"]
