"""Transforms, registered in mmdet's registry."""

from cellseg_mmdet.datasets.transforms.crop_first import RandomCropFirst

__all__ = ["RandomCropFirst"]
