"""Transforms, registered in mmdet's registry. They take masks from `LoadRoIAnnotations`, as mmdet's own do."""

from cellseg_mmdet.datasets.transforms.copy_paste import CopyPasteCells
from cellseg_mmdet.datasets.transforms.elastic import ElasticDeformation
from cellseg_mmdet.datasets.transforms.loading import LoadCellImage, LoadRoIAnnotations
from cellseg_mmdet.datasets.transforms.photometry import RandomPhotometry
from cellseg_mmdet.datasets.transforms.pixel_targets import PackPixelTargets
from cellseg_mmdet.datasets.transforms.reflected_affine import RandomReflectedAffine
from cellseg_mmdet.datasets.transforms.rotation import RandomRotate90, RandomRotateScale
from cellseg_mmdet.datasets.transforms.scale_crop import RandomScaleCrop

__all__ = [
    "CopyPasteCells",
    "ElasticDeformation",
    "LoadCellImage",
    "LoadRoIAnnotations",
    "PackPixelTargets",
    "RandomPhotometry",
    "RandomReflectedAffine",
    "RandomRotate90",
    "RandomRotateScale",
    "RandomScaleCrop",
]
