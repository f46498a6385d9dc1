"""Data sets and transforms, registered in mmdet's own registries."""

from cellseg_mmdet.datasets.cell_dataset import CellDataset
from cellseg_mmdet.datasets.transforms import RandomCropFirst

__all__ = ["CellDataset", "RandomCropFirst"]
