"""From raw data sets to annotation files: readers (`readers`, one file each), cleaning, folds, findings.

`convert` is what a command line calls: it reads with one of `READERS` and writes the annotations.
"""

from cellseg_mmdet.converters import readers  # noqa: F401  # fills READERS
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.reader import READERS, Reader

__all__ = ["READERS", "Cleaning", "Reader"]
