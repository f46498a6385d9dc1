"""The types that everybody hands on."""

from cellseg_mmdet.structures.image_key import ImageKey

__all__ = ["ImageKey"]
