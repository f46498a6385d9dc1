"""Data sets and transforms, registered in mmdet's own registries."""

import contextlib
import io

# It prints twice that it does without a package for data sets of its own, which nobody here misses.
with contextlib.redirect_stdout(io.StringIO()):
    import mmdet.datasets  # noqa: F401

from cellseg_mmdet.datasets.balanced_sampler import BalancedInfiniteSampler
from cellseg_mmdet.datasets.cell_dataset import CellDataset
from cellseg_mmdet.datasets.transforms import (
    CopyPasteCells,
    ElasticDeformation,
    LoadCellImage,
    LoadRoIAnnotations,
    PackPixelTargets,
    RandomPhotometry,
    RandomReflectedAffine,
    RandomRotate90,
    RandomRotateScale,
    RandomScaleCrop,
)

__all__ = [
    "BalancedInfiniteSampler",
    "CellDataset",
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
