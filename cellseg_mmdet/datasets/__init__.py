"""Data sets and transforms, registered in mmdet's own registries."""

from cellseg_mmdet.datasets.cell_dataset import CellDataset
from cellseg_mmdet.datasets.transforms import (
    CopyPasteCells,
    DarkBackground,
    ElasticDeformation,
    LoadRoIAnnotations,
    PackPixelTargets,
    RandomPhotometry,
    RandomReflectedAffine,
    RandomRotate90,
    RandomRotateScale,
    RandomScaleCrop,
    StretchContrast,
)

__all__ = [
    "CellDataset",
    "CopyPasteCells",
    "DarkBackground",
    "ElasticDeformation",
    "LoadRoIAnnotations",
    "PackPixelTargets",
    "RandomPhotometry",
    "RandomReflectedAffine",
    "RandomRotate90",
    "RandomRotateScale",
    "RandomScaleCrop",
    "StretchContrast",
]
