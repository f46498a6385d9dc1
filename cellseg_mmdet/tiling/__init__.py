"""Pictures too large to be predicted as a whole: cut into tiles, with the result of the whole."""

from cellseg_mmdet.tiling.cover import Cover, Rect, Tile
from cellseg_mmdet.tiling.receptive_field import NotLocalError, ReceptiveField, receptive_fields

__all__ = ["Cover", "NotLocalError", "ReceptiveField", "Rect", "Tile", "receptive_fields"]
