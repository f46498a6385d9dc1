"""Data sets and transforms, registered in mmdet's own registries."""

from cellseg_mmdet.datasets.cell_dataset import CellDataset
from cellseg_mmdet.datasets.transforms import (
    CopyPasteCells,
    ElasticDeformation,
    LoadRoIAnnotations,
    RandomPhotometry,
    RandomRotate90,
    RandomRotateScale,
    RandomScaleCrop,
)

__all__ = [
    "CellDataset",
    "CopyPasteCells",
    "ElasticDeformation",
    "LoadRoIAnnotations",
    "RandomPhotometry",
    "RandomRotate90",
    "RandomRotateScale",
    "RandomScaleCrop",
]
